"""`headstart compare`: what counts, how it is grouped, and whether the numbers are those of the runs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from headstart.compare import main
from headstart.errors import UserError
from headstart.report.decision import Decision, decide
from headstart.report.groups import compare
from headstart.report.paired import families
from headstart.report.study import read
from study_files import write_demo, write_run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """An empty output folder."""
    return tmp_path / "outputs"


def compared(outputs: Path, *arguments: str) -> None:
    """Run the verb without plots."""
    assert main([*arguments, "--output-dir", str(outputs), "--no-plots"]) == 0


def summary(outputs: Path, study: str = "demo", file: str = "summary.csv") -> list[dict[str, str]]:
    """The rows of a report's CSV file."""
    with (outputs / study / "report" / file).open(newline="") as lines:
        return list(csv.DictReader(lines))


def results(folders: list[Path], strategy: str) -> list[dict]:
    """The result.json of a strategy's runs."""
    loaded = [json.loads((folder / "result.json").read_text()) for folder in folders]
    return [result for result in loaded if result["strategy"] == strategy]


def half_width(values: list[float]) -> float:
    """The half-width of the 95 % interval, as scipy.stats computes it."""
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    return (high - low) / 2


def test_summary_equals_results(outputs: Path) -> None:
    folders = write_demo(outputs)
    compared(outputs, "demo")
    rows = {row["strategy"]: row for row in summary(outputs)}
    assert set(rows) == {"scratch", "feature_extraction", "finetune"}
    for strategy, row in rows.items():
        runs = results(folders, strategy)
        assert row["n"] == "3"
        assert row["seeds"] == "0 1 2"
        for name in ("accuracy", "balanced_accuracy", "top5", "nll", "ece"):
            values = [run["test"][name] for run in runs]
            assert float(row[f"{name}_mean"]) == pytest.approx(np.mean(values), rel=1e-12)
            assert float(row[f"{name}_std"]) == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-15)
            if np.ptp(values) > 0:
                assert float(row[f"{name}_interval"]) == pytest.approx(half_width(values), rel=1e-9)
        for name, path in {"params_trainable": "trainable", "params_total": "total"}.items():
            assert int(row[name]) == runs[0]["params"][path]
        for name in ("epochs", "backbone_forwards", "gmacs"):
            assert float(row[name]) == runs[0][name]


def test_seconds_are_those_of_a_cold_cache(outputs: Path) -> None:
    folders = write_demo(outputs)
    compared(outputs, "demo")
    row = next(row for row in summary(outputs) if row["strategy"] == "feature_extraction")
    runs = results(folders, "feature_extraction")
    assert [run["cached"] for run in runs] == [False, True, True]
    cold = [run["seconds"]["total"] + run["seconds"]["features"] * run["cached"] for run in runs]
    assert float(row["seconds_mean"]) == pytest.approx(np.mean(cold), rel=1e-12)
    assert min(cold) > 7.4


def test_runs_csv_equals_results(outputs: Path) -> None:
    folders = write_demo(outputs)
    compared(outputs, "demo")
    rows = {row["run"]: row for row in summary(outputs, file="runs.csv")}
    assert set(rows) == {folder.name for folder in folders}
    for folder in folders:
        result = json.loads((folder / "result.json").read_text())
        row = rows[folder.name]
        assert float(row["test.accuracy"]) == result["test"]["accuracy"]
        assert float(row["val.nll"]) == result["val"]["nll"]
        assert float(row["seconds.fit"]) == result["seconds"]["fit"]
        assert int(row["seed"]) == result["seed"]
        assert row["config_hash"] == result["config_hash"]


def test_one_seed_has_no_interval(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(outputs, strategy="finetune", seed=4)
    write_run(outputs, strategy="scratch", seed=4, skill=1.0)
    compared(outputs, "demo")
    for row in summary(outputs):
        assert row["n"] == "1"
        assert row["accuracy_interval"] == row["accuracy_std"] == row["seconds_interval"] == ""
    printed = capsys.readouterr().out
    accuracy = 100 * float(summary(outputs)[0]["accuracy_mean"])
    assert f"{accuracy:.1f} ± -" in printed
    told = " ".join(printed.split())
    assert "By mean accuracy alone take" in told
    assert "with one common seed nothing is tested" in told
    assert "shown" not in told


def test_only_completed_runs_count(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(outputs, seed=0)
    write_run(outputs, seed=1)
    failed = write_run(outputs, seed=2, skill=0.1)
    result = json.loads((failed / "result.json").read_text())
    (failed / "result.json").write_text(json.dumps(result | {"status": "failed"}))
    cut_off = write_run(outputs, seed=3, skill=0.1)
    (cut_off / "result.json").unlink()
    (cut_off / "state.json").write_text(json.dumps({"phase": "main"}))
    running = write_run(outputs, seed=4, skill=0.1)
    (running / "result.json").unlink()
    (running / "state.json").write_text(json.dumps({"status": "running"}))
    compared(outputs, "demo")
    (row,) = summary(outputs)
    assert row["seeds"] == "0 1"
    assert "not counted: 1 cut off or still running, 1 failed, 1 running" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"status": "completed", "test": {"accu', "Unterminated string"),
        ("[1, 2]", "not a JSON object"),
        (
            '{"status": "completed", "model": "m", "strategy": "s", "data": "d", "seed": 1}',
            "no test.accuracy",
        ),
        ('{"status": "completed", "model": "m", "data": "d", "seed": 1}', "no strategy"),
    ],
)
def test_broken_result_is_named(outputs: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str) -> None:
    write_run(outputs, seed=0)
    broken = write_run(outputs, seed=1)
    (broken / "result.json").write_text(content)
    compared(outputs, "demo")
    (row,) = summary(outputs)
    assert row["seeds"] == "0"
    printed = " ".join(capsys.readouterr().out.split())
    assert "not counted: 1 unreadable" in printed
    assert broken.name in printed
    assert reason in printed


def test_study_without_completed_run_is_an_error(outputs: Path) -> None:
    folder = write_run(outputs)
    (folder / "result.json").unlink()
    with pytest.raises(UserError, match="no completed run"):
        compared(outputs, "demo")


def test_varying_key_splits_rows(outputs: Path) -> None:
    for budget in (5, 10, 50):
        for seed in range(2):
            write_run(outputs, seed=seed, changes={"data.train_per_class": budget})
    compared(outputs, "demo")
    rows = summary(outputs)
    assert [(row["data.train_per_class"], row["seeds"]) for row in rows] == [
        ("5", "0 1"),
        ("10", "0 1"),
        ("50", "0 1"),
    ]
    assert "data.split_seed" not in rows[0]


def test_keys_that_change_no_result_split_nothing(outputs: Path) -> None:
    for seed in range(3):
        changes = {"logger.tags": [f"t{seed}"], "hardware.workers": seed, "output_dir": f"o{seed}"}
        write_run(outputs, seed=seed, changes=changes | {"digests.data": f"d{seed}", "cache_dir": f"c{seed}"})
    compared(outputs, "demo")
    (row,) = summary(outputs)
    assert row["n"] == "3"
    assert list(row)[:4] == ["model", "strategy", "data", "n"]


def test_pinned_split_seed_is_a_key_of_its_own(outputs: Path) -> None:
    for seed in range(2):
        for split in (7, 8):
            write_run(outputs, seed=seed, changes={"data.split_seed": split})
    compared(outputs, "demo")
    assert [row["data.split_seed"] for row in summary(outputs)] in (["7", "8"], ["8", "7"])


def test_setting_that_follows_the_strategy_is_said_but_no_column(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        write_run(outputs, strategy="finetune", seed=seed, changes={"optimizer.lr": 0.001})
        write_run(outputs, strategy="scratch", seed=seed, changes={"optimizer.lr": 0.01})
    compared(outputs, "demo")
    rows = summary(outputs)
    assert len(rows) == 2
    assert "optimizer.lr" not in rows[0]
    assert "optimizer.lr is 0.001 in finetune, 0.01 in scratch" in " ".join(capsys.readouterr().out.split())


def test_run_level_key_beside_the_number_of_the_same_name(outputs: Path) -> None:
    for epochs in (4, 8):
        write_run(outputs, epochs=epochs, changes={"epochs": epochs})
    compared(outputs, "demo")
    assert sorted((row["config.epochs"], row["epochs"]) for row in summary(outputs)) == [
        ("4", "4"),
        ("8", "8"),
    ]


def test_missing_numbers_are_left_empty(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        folder = write_run(outputs, strategy="ridge", seed=seed)
        result = json.loads((folder / "result.json").read_text())
        result["test"]["nll"] = None if seed else 0.5
        del result["gmacs"], result["seconds"]
        (folder / "result.json").write_text(json.dumps(result))
    compared(outputs, "demo")
    (row,) = summary(outputs)
    assert row["nll_mean"] == row["gmacs"] == row["seconds_mean"] == ""
    assert row["accuracy_interval"] != ""
    assert "│     - │" in capsys.readouterr().out


def decided(outputs: Path, study: str = "demo") -> Decision:
    """The decision over a study."""
    comparison = compare(read(outputs / study))
    return decide(comparison, families(comparison))


def rescored(outputs: Path, strategy: str, accuracies: list[float], seconds: float, data: str = "digits") -> None:
    """Write a strategy's runs, one a seed, and put these accuracies and seconds into their results."""
    for seed, accuracy in enumerate(accuracies):
        folder = write_run(outputs, strategy=strategy, seed=seed, data=data)
        path = folder / "result.json"
        result = json.loads(path.read_text())
        result["test"]["accuracy"] = accuracy
        result["seconds"] |= {"total": seconds, "features_reused": 0.0}
        path.write_text(json.dumps(result))


def test_decision_takes_the_best_that_is_shown_to_be_better(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.92, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.82, 0.83, 0.815], 5)
    rescored(outputs, "scratch", [0.50, 0.515, 0.49], 58)
    said = decided(outputs).sentence
    differences = np.array([0.09, 0.09, 0.085])
    p = 2 * stats.ttest_1samp(differences, 0).pvalue  # the second smallest of three counts twofold
    half = 100 * half_width(differences.tolist())
    assert said.startswith("Take finetune, the best by mean accuracy (91.0 % ± 2.5, 3 seeds). It gains ")
    assert f"{100 * differences.mean():.1f} ± {half:.1f} points over feature_extraction, the next best" in said
    assert p < 0.001
    assert "and the cheapest (shown: adjusted p < 0.001, 3 common seeds)" in said
    assert "for 12 times the time (60.0 s against 5.0 s)." in said
    assert "Pretraining gains 40.8 ± 0.7 points (finetune over scratch; shown:" in said


def test_decision_takes_the_cheaper_row_where_the_best_is_not_shown_to_be_better(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.86, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.87, 0.88, 0.875], 5)
    rescored(outputs, "scratch", [0.60, 0.605, 0.59], 1)
    said = decided(outputs).sentence
    assert said.startswith("Take feature_extraction (87.5 % ± 1.2, 3 seeds): finetune has the best mean accuracy")
    assert "but that it is better is not shown (+1.5 ± " in said
    assert "and it takes 12 times the time (60.0 s against 5.0 s)." in said
    assert "feature_extraction gains 27.7 ± " in said
    assert "over scratch, the cheapest (shown: adjusted p" in said


def test_decision_does_not_take_a_row_far_behind_because_its_seeds_scatter(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.90, 0.90, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.85, 0.60, 0.44], 5)
    rescored(outputs, "scratch", [0.30, 0.305, 0.29], 58)
    assert decided(outputs).sentence.startswith("Take finetune, the best by mean accuracy")


def test_decision_takes_a_cheaper_row_that_is_two_points_behind(outputs: Path) -> None:
    ahead, behind = [0.86, 0.81, 0.81], [0.82, 0.80, 0.80]
    assert np.mean(np.subtract(ahead, behind)) > 0.02, "by a rounding error"
    rescored(outputs, "finetune", ahead, 60)
    rescored(outputs, "feature_extraction", behind, 5)
    rescored(outputs, "scratch", [0.60, 0.605, 0.59], 1)
    assert decided(outputs).sentence.startswith("Take feature_extraction (80.7 %")


def test_decision_does_not_take_a_row_that_saves_nothing(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.86, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.87, 0.88, 0.875], 57)
    assert decided(outputs).sentence.startswith("Take finetune, the best by mean accuracy")


def test_decision_takes_no_row_that_a_cheaper_one_beats(outputs: Path) -> None:
    """The scattered row in the middle is not shown to be worse; the cheap one is, and is better than that."""
    rescored(outputs, "finetune", [0.900, 0.900, 0.900], 60)
    rescored(outputs, "feature_extraction", [0.894, 0.895, 0.896], 1)
    rescored(outputs, "partial", [0.870, 0.900, 0.888], 10)
    assert decided(outputs).sentence.startswith("Take finetune, the best by mean accuracy (90.0 %")


@pytest.mark.parametrize("seeds", [1, 3])
def test_of_rows_equal_in_every_seed_the_cheaper_is_taken(seeds: int, outputs: Path) -> None:
    rescored(outputs, "finetune", [0.9, 0.91, 0.92][:seeds], 60)
    rescored(outputs, "scratch", [0.9, 0.91, 0.92][:seeds], 1)
    said = decided(outputs).sentence
    assert said.startswith("Take scratch (9")
    assert "finetune is as accurate in every seed, and takes 60 times the time" in said


def test_a_row_that_lacks_a_seed_is_said_to_lose_where_it_does(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rescored(outputs, "finetune", [0.93, 0.915], 60)
    rescored(outputs, "scratch", [0.95, 0.94, 0.80], 60)
    assert "It loses 2.2 ± 3.2 points in common seeds to scratch, the next best" in decided(outputs).sentence
    compared(outputs, "demo")
    told = " ".join(capsys.readouterr().out.split())
    assert "finetune has seeds 0, 1, of seeds 0, 1, 2: means are over different runs" in told


def test_a_tie_in_the_only_common_seed_is_no_tie(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.90, 0.95, 0.95], 60)
    rescored(outputs, "scratch", [0.90], 1)
    assert decided(outputs).sentence.startswith("By mean accuracy alone take finetune (93.3 %")


def test_a_single_run_of_a_cheaper_row_beats_nothing(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.86, 0.90], 60)
    rescored(outputs, "feature_extraction", [0.87, 0.88, 0.875], 5)
    rescored(outputs, "scratch", [0.89], 1)
    assert decided(outputs).sentence.startswith("Take feature_extraction (87.5 %")


def test_two_seeds_decide_nothing(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.91, 0.90], 60)
    rescored(outputs, "scratch", [0.45, 0.55], 5)
    said = decided(outputs).sentence
    assert said.startswith("Take finetune, the best by mean accuracy")
    assert "(not shown: adjusted p = 0.08" in said


def test_decision_says_when_pretraining_loses(outputs: Path) -> None:
    rescored(outputs, "finetune", [0.80, 0.81, 0.80], 60)
    rescored(outputs, "scratch", [0.90, 0.91, 0.905], 50)
    assert "Pretraining loses 10.2 ± " in decided(outputs).sentence


def test_decision_over_several_tasks(outputs: Path) -> None:
    for data in ("digits", "pets"):
        for strategy, skill in {"finetune": 2.6, "scratch": 0.4}.items():
            for seed in range(3):
                write_run(outputs, strategy=strategy, seed=seed, data=data, skill=skill)
    decision = decided(outputs)
    assert decision.sentence.startswith("Take finetune on 2 of 2 tasks. On 2 of 2 the best row is shown")
    assert [line.split(":")[0] for line in decision.tasks] == ["digits", "pets"]


def test_ties_and_losses_over_several_tasks(outputs: Path) -> None:
    for data, fine, scratch in (("digits", [0.9, 0.9], [0.9, 0.9]), ("pets", [0.93, 0.915], [0.95, 0.94, 0.80])):
        rescored(outputs, "finetune", fine, 60, data=data)
        rescored(outputs, "scratch", scratch, 1, data=data)
    assert decided(outputs).tasks == [
        "digits: take scratch (90.0 %); finetune (90.0 %) is as accurate in every seed and takes 60 times the time.",
        "pets: take finetune (92.3 %), though 2.2 ± 3.2 points behind scratch (89.7 %) over common seeds"
        " (not shown: adjusted p = 0.07).",
    ]


def test_terminal_leads_with_table_decision_and_tests(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_demo(outputs)
    compared(outputs, "demo")
    told = " ".join(capsys.readouterr().out.split("╯")[1].split())
    assert told.startswith("Left out") or told.startswith("Take ")
    assert "Paired t tests over common seeds, Holm's correction over all of them: " in told
    assert "of 3 differences shown" in told
    assert "Differences are not tested" not in told


def test_sort(outputs: Path) -> None:
    write_demo(outputs)
    compared(outputs, "demo", "--sort", "seconds")
    seconds = [float(row["seconds_mean"]) for row in summary(outputs)]
    assert seconds == sorted(seconds)
    compared(outputs, "demo", "--sort", "strategy")
    assert [row["strategy"] for row in summary(outputs)] == ["feature_extraction", "finetune", "scratch"]
    with pytest.raises(UserError, match=r"Did you mean accuracy\?"):
        compared(outputs, "demo", "--sort", "acuracy")


def test_unknown_study_names_those_that_exist(outputs: Path) -> None:
    for study in ("alpha", "demo", "zeta"):
        write_run(outputs, study=study)
    with pytest.raises(UserError, match="nearest name first: demo, alpha, zeta"):
        compared(outputs, "demmo")
    with pytest.raises(UserError, match="no study"):
        compared(outputs / "nowhere")


def test_default_is_the_most_recently_finished_study(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for when, study in enumerate(("late", "early", "unfinished")):
        folder = write_run(outputs, study=study)
        os.utime(folder / "result.json", (2e9 - when, 2e9 - when))
    (folder / "result.json").unlink()
    (outputs / "late" / ".hydra").mkdir()
    compared(outputs)
    assert "taking late, the most recently finished one" in capsys.readouterr().out
    assert (outputs / "late" / "report" / "summary.csv").is_file()
    assert not (outputs / "early" / "report").exists()


def piped(outputs: Path, study: str = "demo") -> str:
    """What the verb writes into a pipe that claims to be 40 columns wide."""
    command = [sys.executable, "-c", "import sys; from headstart.compare import main; main(sys.argv[1:])"]
    environment = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    done = subprocess.run(
        [*command, study, "--output-dir", str(outputs), "--no-plots"],
        capture_output=True,
        env=environment | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "40"},
        check=True,
    )
    return done.stdout.decode()


def test_piped_table_is_whole_and_has_no_colour_codes(outputs: Path) -> None:
    write_demo(outputs)
    text = piped(outputs)
    assert "\x1b" not in text
    assert "…" not in text
    assert "│ feature_extraction │" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("report:")) <= 100


def test_piped_table_grows_before_it_folds_a_name(outputs: Path) -> None:
    name = "a_strategy_whose_name_alone_takes_up_most_of_the_line_" * 2
    write_run(outputs, strategy=name)
    text = piped(outputs)
    assert f"│ {name} │" in text
    assert "Left out for want of width: balanced %, NLL, ECE %, GMACs" in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom headstart.compare import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy', 'numpy', 'rich', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert "STUDY" in done.stdout
