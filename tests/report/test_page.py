"""The page: it stands alone, leads with the decision and carries the runs' numbers."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

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
    links = [value or "" for _, name, value in page.attributes if name in ("src", "href", "srcset", "data")]
    assert len(links) >= 7
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"(url\(|@import|https?://|<iframe|<object)", text)


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


def test_page_opens_in_a_browser_without_errors(demo: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=3000"
    page = tmp_path / "clicked.html"
    clicks = (
        "<script>const head = [...document.querySelectorAll('#summary th')]"
        ".find(th => th.textContent.startsWith('accuracy')); for (let k = 0; k < 3; k++) {"
        " head.querySelector('button').click(); const order = document.createElement('samp');"
        " document.body.append(order);"
        " order.textContent = [head.getAttribute('aria-sort'), ...[...document.querySelectorAll("
        "'#summary tbody tr')].map(row => row.cells[0].textContent)].join(' '); }"
        "</script></body>"
    )
    text = (demo / "demo/report/index.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", clicks), encoding="utf-8")
    done = subprocess.run(
        [browser, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    falling = "descending finetune feature_extraction scratch"
    rising = "ascending scratch feature_extraction finetune"
    assert re.findall(r"<samp>(.*?)</samp>", done.stdout) == [falling, rising, falling]


def test_page_leads_with_the_decision_and_has_the_evidence_without_plots(study: Path) -> None:
    text = (study / "demo/report/index.html").read_text("utf-8")
    places = [text.index(words) for words in ('class="decision">', 'id="summary"', "What is shown", "Is it worth it?")]
    assert places == sorted(places)
    assert "Holm’s correction over these tests of a task (family size 10; 3 common seeds)" in text
    assert "“not shown” does not mean “no difference”" in text
    assert "Best for each budget" in text
    assert "Images that changed verdict" in text
