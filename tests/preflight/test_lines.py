"""A sweep of lines: the union of their products, times what the command line sweeps; nothing wrong is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import UserError
from headstart.preflight.command import Command, examine
from headstart.preflight.lines import expand_option, name_lines

LINES = ["strategy=feature_extraction head=logistic,ridge", "strategy=finetune optimizer.lr=1e-4,1e-3 epochs=3"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(*words: str) -> Command:
    return examine(expand_option(words), libraries=False, machine=False)


def write(path: Path, lines: list[str], above: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(above + "\n".join(["sweep:", *(f"  - {line}" for line in lines)]) + "\n", "utf-8")
    return str(path)


def test_two_unequal_lines_and_three_seeds_are_their_union_times_three(here: Path) -> None:
    command = read("--sweep", write(here / "lines.yaml", LINES), "seed=0,1,2")
    assert command.problems == []
    assert command.multirun
    made = [(job.config.strategy.name, job.config.head.kind, job.config.optimizer["lr"]) for job in command.jobs]
    expected = [("feature_extraction", head, 0.001) for head in ("logistic", "ridge")]
    expected += [("finetune", "logistic", rate) for rate in (0.0001, 0.001)]
    assert made == [each for each in expected for _ in range(3)]
    assert [job.config.seed for job in command.jobs] == [0, 1, 2] * 4
    assert [job.line for job in command.jobs] == [1] * 6 + [2] * 6
    assert command.jobs[-1].task_overrides == ["strategy=finetune", "optimizer.lr=0.001", "epochs=3", "seed=2"]
    assert all(job.config.sweep is None for job in command.jobs), "a job does not hold the list"


def test_an_experiment_file_combines_its_lines_with_its_params(here: Path) -> None:
    params = "# @package _global_\nhydra: {sweeper: {params: {seed: '0,1', epochs: 7}}}\n"
    write(here / "own" / "experiment" / "mine.yaml", LINES, params)
    command = read("-m", "--config-dir=own", "experiment=mine", "seed=5")
    assert command.problems == []
    assert [job.config.seed for job in command.jobs] == [5] * 4, "the command line replaces"
    assert {job.config.epochs for job in command.jobs if job.line == 2} == {3}, "a line replaces params"
    assert {job.config.epochs for job in command.jobs if job.line == 1} == {7}
    assert {job.config.study for job in command.jobs} == {"mine"}


def test_lines_may_add_and_take_away_and_quote(here: Path) -> None:
    line = "strategy=finetune +optimizer.eps=1e-7,1e-8 ~optimizer.weight_decay logger.tags=[a, b]"
    line += " logger.project='two words'"
    command = read("--sweep", write(here / "lines.yaml", [line]))
    assert command.problems == []
    assert [job.config.optimizer["eps"] for job in command.jobs] == [1e-7, 1e-8]
    assert all("weight_decay" not in job.config.optimizer for job in command.jobs)
    assert all(job.config.logger.tags == ["a", "b"] for job in command.jobs)
    assert {job.config.logger.project for job in command.jobs} == {"two words"}


def test_equal_runs_of_lines_are_one_job(here: Path) -> None:
    rates = "strategy=feature_extraction optimizer.lr=0.1,0.2"  # of no effect on a fitted head
    command = read("--sweep", write(here / "lines.yaml", [rates, LINES[0], "strategy=feature_extraction study=b"]))
    assert command.problems == []
    assert [(job.line, job.config.head.kind, job.config.study) for job in command.jobs] == [
        (1, "logistic", "runs"),
        (2, "ridge", "runs"),
        (3, "logistic", "b"),
    ]
    assert command.repeated == 2


def test_impossible_lines_are_refused_with_their_numbers(here: Path) -> None:
    lines = [
        LINES[0],
        "strategy=finetun",
        "seed=abc optimizer.lr=1,-1",
        "strategy=finetune model.weights=none",
        "hydra.job.name=x sweep=y seed",
        "strategy=finetun",
    ]
    problems = read("--sweep", write(here / "lines.yaml", lines), "label_smoothing=2").problems
    for start in (
        "label_smoothing=2.0: ",
        "sweep, lines 2 and 6: strategy=finetun: there is no such strategy; did you mean finetune?",
        "sweep, line 3: seed=abc: must be a whole number",
        "sweep, line 3: optimizer.lr=-1: must be a number above 0",
        "sweep, line 4: strategy=finetune starts from pretrained weights",
        "sweep, line 5: hydra.job.name=x: belongs to the whole sweep",
        "sweep, line 5: sweep=y: belongs to the whole sweep",
        "sweep, line 5: seed: the value is missing",
    ):
        assert sum(line.startswith(start) for line in problems) == 1, (start, problems)
    assert len(problems) == 8


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep=[seed\\=1]"], "sweep: a list of jobs is a sweep: add -m"),
        (["-m", "sweep=[[a]]"], "sweep: must be a list of lines"),
        (["-m", "sweep=[]"], "sweep: must be a list of lines"),
    ],
)
def test_what_is_no_list_of_lines_is_told(words: list[str], told: str, here: Path) -> None:
    assert any(line.startswith(told) for line in read(*words).problems)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("sweep: [", "cannot be read"),
        ("lines: [a]", "must hold a list of lines"),
        ("- a: b", "must hold a list of lines"),
    ],
)
def test_a_file_that_holds_no_lines_is_told(content: str | None, told: str, here: Path) -> None:
    if content is not None:
        (here / "lines.yaml").write_text(content, "utf-8")
    with pytest.raises(UserError, match=f"--sweep lines.yaml: {told}"):
        expand_option(["--sweep=lines.yaml"])
    with pytest.raises(UserError, match="the file is missing"):
        expand_option(["--sweep"])


def test_each_problem_is_said_once_with_all_its_lines() -> None:
    found = [(1, "a"), (1, "a"), (3, "a"), (4, "a"), (None, "b"), (2, "c")]
    assert name_lines(found, ["c"]) == ["sweep, lines 1, 3 and 4: a", "b", "c"]
