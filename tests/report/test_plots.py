"""All plots of a report, for few and for many strategies and classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.studies import made
from study_files import write_run


def test_plots_are_written(demo: Path) -> None:
    report = demo / "demo/report"
    names = {path.name for path in report.glob("*.png")}
    assert {"accuracy.png", "accuracy_vs_seconds.png", "learning_curves.png"} <= names
    assert sum(name.startswith("confusion-") for name in names) == 3
    for path in report.glob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size > 5_000


@pytest.mark.parametrize("text", [None, "a: [", "[1, 2]", "figures: 3", "\xff"])
def test_figures_are_those_of_the_newest_readable_config(text: str | None, tmp_path: Path) -> None:
    figure = {"_target_": "headstart.report.questions.Frontier", "title": "Cost", "x": ["seconds"]}
    write_run(tmp_path, seed=0, changes={"figures": {"cost": figure}})
    newest = write_run(tmp_path, seed=1) / "config.yaml"
    newest.unlink()
    if text is not None:
        newest.write_bytes(text.encode("latin-1"))
    made(tmp_path)
    assert (tmp_path / "demo/report/cost.png").is_file() == (text != "figures: 3")


def test_a_figure_that_cannot_be_built_says_so(tmp_path: Path) -> None:
    figure = {"_target_": "headstart.report.questions.Frontier", "title": "Cost", "y": ["seconds"]}
    write_run(tmp_path, changes={"figures": {"cost": figure}})
    assert "Not drawn: config.yaml, figures.cost: " in made(tmp_path)


@pytest.mark.parametrize(("strategies", "classes"), [pytest.param(15, 2, marks=pytest.mark.slow), (2, 100)])
def test_many_strategies_and_classes(tmp_path: Path, strategies: int, classes: int) -> None:
    for place in range(strategies):
        names = [f"a class with the long name {k}" for k in range(classes)]
        write_run(tmp_path, strategy=f"strategy_number_{place}", classes=names, skill=2 + 0.1 * place)
    made(tmp_path)
    assert len(list((tmp_path / "demo/report").glob("confusion-*.png"))) == min(strategies, 12)
    assert len(list((tmp_path / "demo/report").glob("reliability-*.png"))) == min(strategies, 12)
