"""The page: it stands alone, leads with the decision and carries the runs' numbers."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.report.study.groups import compare
from headstart.report.study.read import read
from report.pages import Page
from report.studies import made
from study_files import write_run


def test_page_is_well_formed_and_needs_nothing_beside_it(demo: Path) -> None:
    text = (demo / "demo/report/index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.unclosed == []
    assert page.mistakes == []
    asked = [value or "" for tag, name, value in page.attributes if name in ("src", "srcset", "data") or tag == "link"]
    assert all(value.startswith("data:") for value in asked if value != "icon")
    links = [value or "" for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert len(links) >= 9
    assert all(not link or link.startswith("../") or (demo / "demo/report" / link).is_file() for link in links)
    assert (
        "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
        in text
    )


def test_page_shows_the_runs_numbers(demo: Path) -> None:
    page = Page((demo / "demo/report/index.html").read_text(encoding="utf-8"))
    values = {value for value, _ in page.cells}
    texts = [text for _, text in page.cells]
    with (demo / "demo/report/summary.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        results = [json.loads(path.read_text()) for path in sorted((demo / "demo").glob("*/result.json"))]
        accuracies = [result["test"]["accuracy"] for result in results if result["strategy"] == row["strategy"]]
        mean, half = np.mean(accuracies), float(row["accuracy_interval"])
        assert f"{100 * mean:.1f} ± {100 * half:.1f}" in texts
        assert any(value and value != row["strategy"] and _close(value, mean) for value in values)
        assert {repr(accuracy) for accuracy in accuracies} <= values


def _close(text: str, number: float) -> bool:
    try:
        return abs(float(text) - number) < 1e-12
    except ValueError:
        return False


def test_missing_files_are_stated(tmp_path: Path) -> None:
    bare = write_run(tmp_path, seed=0)
    (bare / "metrics.csv").unlink()
    (bare / "predictions.csv").unlink()
    (bare / "config.yaml").write_text("a: [")
    odd = write_run(tmp_path, seed=1)
    (odd / "predictions.csv").write_text("index,name,label,predicted\n0,a,0,99\n")
    (odd / "metrics.csv").write_text("phase,epoch\nmain,x\n")
    text = made(tmp_path)
    assert "No run recorded validation accuracy by epoch. Without a readable metrics.csv" in text
    assert "No run left readable predictions. Left out" in text
    assert "Without a readable config.yaml" in text
    assert text.count(bare.name) >= 3
    assert not list((tmp_path / "demo/report").glob("confusion-*"))


def test_texts_are_escaped(tmp_path: Path) -> None:
    nasty = "<script>alert('x')</script>"
    write_run(
        tmp_path,
        classes=["$a_{$", "<b>dog</b>", nasty],
        data="pets&co",
        wandb="<i>id</i>",
        update={"versions": {"x": nasty}, "hardware": {"<u>": 1}},
    )
    text = made(tmp_path)
    for raw in (nasty, "<b>dog", "<i>id", "<u>", "pets&co<"):
        assert raw not in text
    assert "pets&amp;co" in text
    assert "&lt;i&gt;id&lt;/i&gt;" in text
    assert Page(text).mistakes == []


@pytest.mark.slow
def test_several_tasks_and_models(tmp_path: Path) -> None:
    for model in ("efficientnet_lite0", "resnet18"):
        for budget in (5, 50):
            write_run(tmp_path, model=model, changes={"data.train_per_class": budget, "optimizer.lr": 1 / budget})
            write_run(tmp_path, model=model, changes={"data.train_per_class": budget, "optimizer.lr": 0.5})
    text = made(tmp_path)
    assert "train_per_class" in text
    assert len(compare(read(tmp_path / "demo")).groups) == 8


def read_rows(text: str, table: str) -> list[tuple[list[str], list[str]]]:
    """The texts and the values of each row of a table of the page."""
    found = re.search(rf'<table data-sortable id="{table}">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert found is not None
    rows = [Page(row).cells for row in re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)]
    return [([cell for _, cell in row], [value or "" for value, _ in row]) for row in rows]


def test_every_number_of_the_tables_is_that_of_the_results(demo: Path) -> None:
    text = (demo / "demo/report/index.html").read_text(encoding="utf-8")
    results = [json.loads(path.read_text()) for path in (demo / "demo").glob("*/result.json")]
    heads = re.findall(r'data-column="(\w+)"', text)
    for _, values in read_rows(text, "summary"):
        own = [result for result in results if result["strategy"] == values[0]]
        numbers = dict(zip(heads, map(float, values[1:]), strict=True))
        assert numbers.pop("n") == 3
        assert len(numbers) > 7
        for name, number in numbers.items():
            assert number == pytest.approx(np.mean([computed(name, result) for result in own]), rel=1e-9), name
    runs = {result["run"]: result for result in results}
    rows = read_rows(text, "runs")
    assert len(rows) == 9
    for _, (run, row, seed, score, seconds, _) in rows:
        assert (row, float(seed)) == (runs[run]["strategy"], runs[run]["seed"])
        assert float(score) == runs[run]["test"]["accuracy"]
        assert float(seconds) == pytest.approx(computed("seconds", runs[run]))


def computed(name: str, result: dict[str, Any]) -> float:
    """A number of the page from a result, worked out anew."""
    if name in result["test"]:
        return float(result["test"][name])
    if name == "seconds":
        return float(result["seconds"]["total"] + result["seconds"]["features_reused"])
    if name == "training_gmacs":
        back = 2 * result["epochs"] * result["n_train"]
        return float(result["gmacs"] * (result["backbone_forwards"] - result["n_test"] + back))
    if name.startswith("params_"):
        return float(result["params"][name.removeprefix("params_")])
    return float(result[name])


def test_page_leads_with_the_decision_and_has_the_evidence_without_plots(study: Path) -> None:
    text = (study / "demo/report/index.html").read_text("utf-8")
    places = [text.index(words) for words in ('class="decision">', 'id="summary"', "What is shown", "Is it worth it?")]
    assert places == sorted(places)
    assert "Holm’s correction over these tests of a task (family size 10; 3 common seeds)" in text
    assert "“not shown” does not mean “no difference”" in text
    assert "Best for each budget" in text
    assert "Images that changed verdict" in text
