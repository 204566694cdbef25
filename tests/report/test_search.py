"""The report's section on a search, from folders alone: history, importance, front; nothing of the test images."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

import study_files
from headstart.report.page.search import search_sections
from headstart.search.history import measure_importance, read_history, write_search
from headstart.search.objective import read_objectives
from headstart.search.plan import Plan
from headstart.search.space import read_space

SPACE = ("optimizer.lr=tag(log,interval(1e-5,1e-1))", "optimizer.weight_decay=interval(0,0.5)", "optimizer=sgd,adam")


def write_study(outputs: Path, *, objectives: list[str], trials: int = 16) -> Path:
    """A study of runs whose validation accuracy depends on the rate alone; the last one is no part of the search."""
    _, goals = read_objectives(objectives, None)
    _, space = read_space(OverridesParser.create().parse_overrides(list(SPACE)), ["optimizer"])
    drawn = random.Random(0)
    for number in range(trials):
        lr, decay = 10 ** drawn.uniform(-5, -1), drawn.uniform(0, 0.5)
        score = 0.9 - 0.1 * abs(math.log10(lr) + 3)
        changes = {"optimizer.lr": lr, "optimizer.weight_decay": decay, "trial": number}
        folder = study_files.write_run(
            outputs, "found", "finetune", changes=changes,
            update={"val": {"accuracy": score}, "test": {"accuracy": 0.123456}, "seconds": {"total": 10.0 + number}},
        )  # fmt: skip
        (folder / "overrides.yaml").write_text(yaml.safe_dump([f"optimizer={drawn.choice(['sgd', 'adam'])}"]))
    study_files.write_run(outputs, "found", "finetune", changes={"optimizer.lr": 0.5})
    launch = outputs / "found" / ".hydra" / "first"
    launch.mkdir(parents=True)
    write_search(launch, Plan(space, goals, trials, 0), [])
    return outputs / "found"


def test_the_history_is_read_from_the_folders(tmp_path: Path) -> None:
    history = read_history(write_study(tmp_path, objectives=["val_accuracy"]))
    assert history is not None
    assert [trial.number for trial in history.trials] == list(range(16))
    assert set(history.trials[0].params) == {"optimizer", "optimizer.lr", "optimizer.weight_decay"}


def test_what_decides_is_the_most_important_key(tmp_path: Path) -> None:
    history = read_history(write_study(tmp_path, objectives=["val_accuracy"], trials=40))
    assert history is not None
    shares = measure_importance(history)
    assert shares is not None
    assert next(iter(shares)) == "optimizer.lr"
    assert shares["optimizer.lr"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)


def test_the_section_shows_validation_alone(tmp_path: Path) -> None:
    study = write_study(tmp_path, objectives=["val_accuracy"])
    (section,) = search_sections(study)
    assert [plot.name for plot in section.pictures] == ["search-history", "search-importance"]
    assert len(section.tables[0].rows) == 16
    assert sum(cell.text == "best" for row in section.tables[0].rows for cell in row) == 1
    assert section.points[0].startswith("Best: optimizer=")
    assert "Importance for val_accuracy: optimizer.lr" in section.points[1]
    assert "0.123" not in repr(section)
    assert "12.3" not in repr(section)
    assert search_sections(study, drawn=False)[0].pictures == []


def test_two_objectives_have_a_front(tmp_path: Path) -> None:
    (section,) = search_sections(write_study(tmp_path, objectives=["val_accuracy", "seconds"]))
    assert [plot.name for plot in section.pictures] == ["search-history", "search-importance", "search-front"]
    best = [row for row in section.tables[0].rows if any(cell.text == "best" for cell in row)]
    assert best[0][0].text == "1", "the first trial is the cheapest one"
    assert len(best) == sum(point.startswith("On the front: ") for point in section.points) > 1


def test_a_study_without_a_search_has_no_section(tmp_path: Path) -> None:
    study_files.write_run(tmp_path, "plain")
    assert search_sections(tmp_path / "plain") == []


def test_few_trials_and_a_missing_extra_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(tmp_path, objectives=["val_accuracy"], trials=3)
    assert "needs 10 complete trials" in search_sections(study, drawn=False)[0].points[-1]
    monkeypatch.setattr("headstart.report.page.search.find_spec", lambda name: None)
    assert "pip install 'headstart[search]'" in search_sections(study, drawn=False)[0].points[-1]


def test_the_page_has_the_section(tmp_path: Path) -> None:
    import headstart

    write_study(tmp_path, objectives=["val_accuracy", "seconds"])
    headstart.compare("found", output_dir=tmp_path)
    page = (tmp_path / "found" / "report" / "index.html").read_text("utf-8")
    assert "<h2" in page
    assert "Search" in page
    assert (tmp_path / "found" / "report" / "search-front.png").is_file()
    decision = json.loads((tmp_path / "found" / "report" / "decision.json").read_text("utf-8"))
    assert decision
