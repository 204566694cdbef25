"""What is open, what would settle it, and the command that runs it."""

from __future__ import annotations

import html
import json
import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from headstart.report.stats.settle import open_questions, write_seeds
from report.studies import compared, looked_at, made
from study_files import write_run


def write_close(outputs: Path, **more: list[str]) -> None:
    """Two strategies that lie a little apart, with the overrides of a study."""
    for strategy, skill in {"finetune": 2.5, "scratch": 2.42}.items():
        for seed in range(3):
            folder = write_run(outputs, strategy=strategy, seed=seed, skill=skill, n_test=1000)
            words = [f"strategy={strategy}", f"seed={seed}", "epochs=3", *more.get(strategy, [])]
            (folder / "overrides.yaml").write_text(yaml.safe_dump(words))


def test_the_command_runs_the_seeds_that_are_lacking(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_close(outputs)
    _, family = looked_at(outputs, "scratch")
    (question,) = open_questions([family])
    seeds = question.enough.seeds
    assert seeds is not None
    assert seeds > 3
    (command,) = question.commands
    start, sides, same, lacking = shlex.split(command)[:3], *shlex.split(command)[3:]
    assert start == ["headstart", "train", "-m"]
    assert sides in ("strategy=finetune,scratch", "strategy=scratch,finetune")
    assert (same, lacking) == ("epochs=3", f"seed={write_seeds(list(range(3, seeds)))}")
    compared(outputs, "demo", "--reference", "scratch")
    assert f"\n{command}\n" in capsys.readouterr().out
    found = json.loads((outputs / "demo/report/decision.json").read_text())
    assert found["open"][0]["commands"] == [command]
    assert found["reference"] == {"digits": "scratch"}
    assert command in html.unescape(made(outputs, "demo", "--no-plots", "--reference", "scratch"))


def test_rows_that_differ_in_several_overrides_have_a_command_each(outputs: Path) -> None:
    write_close(outputs, finetune=["data.image_size=64"])
    _, family = looked_at(outputs, "scratch")
    (question,) = open_questions([family])
    assert [("data.image_size=64" in command) for command in question.commands] in ([True, False], [False, True])
    for run in question.pair.one.runs:
        (run.folder / "overrides.yaml").unlink()
    _, family = looked_at(outputs, "scratch")
    (question,) = open_questions([family])
    assert question.commands == []


def test_many_seeds_are_written_as_a_range_that_hydra_reads() -> None:
    assert write_seeds([3, 4]) == "3,4"
    assert write_seeds([0, 1, 2, 3, 4, 6]) == "0,1,2,3,4,6"
    words = write_seeds(list(range(3, 36)))
    (override,) = OverridesParser.create().parse_overrides([f"seed={words}"])
    assert list(override.sweep_iterator()) == list(range(3, 36))
