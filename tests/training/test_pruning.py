"""`prune`: a run ends early where its siblings were better; its test images are never looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import fork_server
from headstart.search.prune import Pruner

STUDY = (
    "model=lenet5", "strategy=scratch", "data.image_size=32", "data.train_per_class=8", "data.n_test=40", "epochs=4",
    "augment=none", "optimizer=adam", "hardware=cpu", "hardware.threads=1", "logger=csv", "prune=median",
)  # fmt: skip
GOOD, BAD = "optimizer.lr=1e-3,1.5e-3,2e-3,3e-3", "optimizer.lr=1e-9"


def write_run(
    study: Path,
    name: str,
    curve: list[float],
    seed: int = 0,
    lr: float = 0.1,
    losses: list[float] | None = None,
    **changes: object,
) -> Path:
    """Write what the pruner reads of a complete run: config.yaml, metrics.csv, result.json.

    Args:
        losses: by default what the accuracy lacks to 1.
    """
    folder = study / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(make_config(seed, lr, **changes)))
    (folder / "result.json").write_text(json.dumps({"status": "completed"}))
    pairs = zip(curve, losses or [1 - value for value in curve], strict=True)
    rows = [f"all,{epoch},{epoch},1,0.5,{loss},{value},0.1,1" for epoch, (value, loss) in enumerate(pairs, 1)]
    head = "phase,epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,lr,seconds"
    (folder / "metrics.csv").write_text("\n".join([head, *rows, ""]))
    return folder


def make_config(seed: int = 0, lr: float = 0.1, strategy: str = "scratch") -> dict:
    return {
        "model": {"name": "m"},
        "strategy": {"name": strategy, "phases": {"all": {"epochs": 8, "probe": None, "rates": {"all": 1}}}},
        "data": {"name": "digits", "source": {"_target_": "x"}, "split_seed": seed, "fold": None},
        "augment": {}, "optimizer": {"lr": lr}, "seed": seed, "select": "val_accuracy", "epochs": 8,
    }  # fmt: skip


def judge(
    study: Path, curve: list[float], epoch: int, rule: str = "median", losses: list[float] | None = None
) -> str | None:
    folder = write_run(study, f"mine-{len(list(study.iterdir()))}", curve, lr=0.5, losses=losses)
    (folder / "result.json").unlink()
    found = Pruner(rule, folder, make_config(lr=0.5), "all").judge(epoch)
    return None if found is None else str(found)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for place in range(5):
        write_run(
            tmp_path / "study", f"run-{place}", [0.1 * place + 0.05 * epoch for epoch in range(8)], lr=0.1 * place
        )
    return tmp_path / "study"


def test_what_is_below_the_median_of_its_siblings_is_pruned_and_says_why(study: Path) -> None:
    assert judge(study, [0.1] * 8, 3) == (
        "pruned after epoch 3 of 8 of phase all (prune=median): its best validation accuracy is 10.0 % and its best "
        "validation loss is 0.900; the median of 5 siblings at that epoch is 30.0 % and 0.700"
    )
    assert judge(study, [0.31] * 8, 3) is None
    assert judge(study, [0.1] * 8, 1) is None, "slow starters have a quarter of the epochs"
    assert judge(study, [0.1] * 8, 8) is None, "it has run to its end"


def test_the_quartile_prunes_the_worst_alone(study: Path) -> None:
    assert judge(study, [0.21] * 8, 3) is not None
    assert judge(study, [0.21] * 8, 3, "quartile") is None
    assert "the worst quarter of 5 siblings" in str(judge(study, [0.1] * 8, 3, "quartile"))


def test_a_run_that_is_better_by_one_of_the_scores_goes_on(study: Path) -> None:
    assert judge(study, [0.31] * 8, 3, losses=[0.9] * 8) is None
    assert judge(study, [0.1] * 8, 3, losses=[0.69] * 8) is None
    assert judge(study, [0.3] * 8, 3, losses=[0.9] * 8) is not None, "what equals the median is not better"
    assert judge(study, [0.31] * 8, 3, losses=[0.69] * 8) is None


def test_pruned_siblings_count_as_far_as_they_came(study: Path) -> None:
    assert judge(study, [0.31] * 8, 3) is None
    others = [write_run(study, f"other-{place}", [0.1] * 3, lr=0.01 * (place + 1)) for place in range(5)]
    for folder in others:
        (folder / "result.json").unlink()
    assert judge(study, [0.25] * 8, 3) is not None, "nobody knows how far runs whose process died would have come"
    for folder in others:
        (folder / "state.json").write_text(json.dumps({"status": "pruned"}))
    assert judge(study, [0.25] * 8, 3) is None
    assert judge(study, [0.25] * 8, 4) is not None, "they did not come as far"


def test_other_strategies_and_repeats_are_no_siblings(tmp_path: Path) -> None:
    for place in range(5):
        write_run(tmp_path / "study", f"other-{place}", [0.9] * 8, lr=0.1 * place, strategy="finetune")
        write_run(tmp_path / "study", f"repeat-{place}", [0.9] * 8, lr=0.5, seed=place + 1)
    assert judge(tmp_path / "study", [0.1] * 8, 3) is None


def test_a_run_is_pruned_in_a_real_study(tmp_path: Path) -> None:
    def train(*words: str) -> str:
        done = fork_server.run("train", *words, f"output_dir={tmp_path}", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    train("-m", *STUDY, GOOD)
    said = train("-m", *STUDY, BAD + ",4e-3")
    assert "2 jobs in" in said
    assert "1 done, 0 skipped as already complete, 0 failed, 1 pruned" in said
    (pruned,) = [path for path in tmp_path.glob("runs/*/state.json") if '"pruned"' in path.read_text()]
    state = json.loads(pruned.read_text())
    assert state["status"] == "pruned"
    assert state["pruned"]["siblings"] == 4
    assert state["pruned"]["text"] in said
    assert state["pruned"]["epoch"] < 4
    left = {path.name for path in pruned.parent.iterdir()} & {"result.json", "predictions.csv", "predictions.npz"}
    assert not left, "the test images were not looked at"
    assert not list(pruned.parent.glob("checkpoints/*"))
    again = train(*STUDY, BAD)
    assert "was pruned: skipped; prune=none runs it to its end" in again
    status = fork_server.run("status", "runs", f"--output-dir={tmp_path}", cwd=tmp_path).stdout
    assert f"pruned   {pruned.parent.name}" in status
    assert state["pruned"]["text"] in status
    table = fork_server.run("compare", "runs", f"--output-dir={tmp_path}", "--no-plots", cwd=tmp_path)
    assert "pruned" in table.stdout
    train(*STUDY, BAD, "prune=none")
    assert (pruned.parent / "result.json").is_file()
