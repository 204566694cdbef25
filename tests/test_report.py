"""The report: a page that stands alone, plots that carry the runs' numbers, and a folder that is never half
written.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from headstart.compare import main
from headstart.errors import RunFailed
from headstart.report import write
from headstart.report.columns import count, duration
from headstart.report.confusion import count_group, shares
from headstart.report.curves import read_curve
from headstart.report.groups import Group, compare, stat
from headstart.report.study import Run, read, read_run
from headstart.report.style import Palette, spread_out
from study_files import write_demo, write_run

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page's tags, attributes and texts; `unclosed` names what was opened and not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.cells: list[tuple[str | None, str]] = []
        self.unclosed: list[str] = []
        self.mistakes: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "td":
            self.cells.append((dict(attrs).get("data-value"), ""))

    def handle_endtag(self, tag: str) -> None:
        if not self.unclosed or self.unclosed.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        if "td" in self.unclosed:
            value, text = self.cells[-1]
            self.cells[-1] = (value, text + data)


def made(outputs: Path, study: str = "demo", *options: str) -> str:
    """Write a study's report and return its page."""
    assert main([study, "--output-dir", str(outputs), *options]) == 0
    return (outputs / study / "report" / "index.html").read_text(encoding="utf-8")


def run_of(folder: Path) -> Run:
    """Read one completed run."""
    run = read_run(folder)
    assert isinstance(run, Run)
    return run


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the demo, reported with all plots."""
    outputs = tmp_path_factory.mktemp("outputs")
    write_demo(outputs)
    made(outputs)
    return outputs


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


def test_plots_are_written(demo: Path) -> None:
    report = demo / "demo/report"
    names = {path.name for path in report.glob("*.png")}
    assert {"accuracy.png", "accuracy_vs_seconds.png", "learning_curves.png"} <= names
    assert sum(name.startswith("confusion-") for name in names) == 3
    for path in report.glob("*.png"):
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size > 5_000


def test_confusion_counts_equal_predictions_and_accuracy(demo: Path) -> None:
    for group in compare(read(demo / "demo")).groups:
        counts, classes, without = count_group(group)
        assert counts is not None
        assert without == []
        assert classes == [str(k) for k in range(10)]
        assert counts.sum() == 3 * 400
        assert np.trace(counts) / counts.sum() == pytest.approx(group.accuracy.mean, rel=1e-12)
        assert shares(counts).sum(axis=1) == pytest.approx(np.ones(10))
        rows = [row for run in group.runs for row in csv.DictReader((run.folder / "predictions.csv").open())]
        theirs = confusion_matrix([int(row["label"]) for row in rows], [int(row["predicted"]) for row in rows])
        assert counts.tolist() == theirs.tolist()


def test_confusion_of_a_class_without_images() -> None:
    rate = shares(np.array([[3, 1], [0, 0]]))
    assert rate[0].tolist() == [0.75, 0.25]
    assert np.isnan(rate[1]).all()


def test_curves(tmp_path: Path) -> None:
    probe = read_curve(run_of(write_run(tmp_path, strategy="feature_extraction")))
    assert probe is not None
    assert probe.by_epoch == {}
    assert probe.probe is not None
    both = read_curve(run_of(write_run(tmp_path, strategy="head_then_all", epochs=4)))
    assert both is not None
    assert list(both.by_epoch) == [0, 1, 2, 3, 4]
    folder = write_run(tmp_path, strategy="gradual", epochs=3)
    lines = (folder / "metrics.csv").read_text().splitlines()
    again = [line.replace("main,", "second,") for line in lines[1:3]]
    (folder / "metrics.csv").write_text("\n".join([*lines, lines[3], *again]) + "\n")
    phases = read_curve(run_of(folder))
    assert phases is not None
    assert list(phases.by_epoch) == [1, 2, 3, 4, 5]
    assert phases.begins == [3]
    assert phases.by_epoch[4] == phases.by_epoch[1] == float(lines[1].split(",")[6])


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


def test_failed_writing_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    made(tmp_path, "demo", "--no-plots")
    report = tmp_path / "demo/report"
    before = {path.name: path.read_bytes() for path in report.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_runs", full)
    write_run(tmp_path, seed=1)
    with pytest.raises(RunFailed, match="No space left"):
        made(tmp_path, "demo", "--no-plots")
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before
    assert [path.name for path in (tmp_path / "demo").glob(".report*")] == []


def test_new_report_replaces_the_old_one_whole(tmp_path: Path) -> None:
    write_run(tmp_path)
    made(tmp_path)
    assert (tmp_path / "demo/report/accuracy.png").exists()
    text = made(tmp_path, "demo", "--no-plots")
    assert "<img" not in text
    assert {path.name for path in (tmp_path / "demo/report").iterdir()} == {
        "index.html",
        *("summary.csv", "runs.csv", "pairs.csv", "worth.csv"),
        *("per_class.csv", "class_differences.csv", "calibration.csv", "changed.csv"),
    }
    assert [path.name for path in (tmp_path / "demo").glob(".report*")] == []


@pytest.mark.parametrize(("strategies", "classes"), [(15, 2), (2, 100)])
def test_many_strategies_and_classes(tmp_path: Path, strategies: int, classes: int) -> None:
    for place in range(strategies):
        names = [f"a class with the long name {k}" for k in range(classes)]
        write_run(tmp_path, strategy=f"strategy_number_{place}", classes=names, skill=2 + 0.1 * place)
    made(tmp_path)
    assert len(list((tmp_path / "demo/report").glob("confusion-*.png"))) == min(strategies, 12)
    assert len(list((tmp_path / "demo/report").glob("reliability-*.png"))) == min(strategies, 12)


def test_several_tasks_and_models(tmp_path: Path) -> None:
    for model in ("efficientnet_lite0", "resnet18"):
        for budget in (5, 50):
            write_run(tmp_path, model=model, changes={"data.train_per_class": budget, "optimizer.lr": 1 / budget})
            write_run(tmp_path, model=model, changes={"data.train_per_class": budget, "optimizer.lr": 0.5})
    text = made(tmp_path)
    assert "train_per_class" in text
    assert len(compare(read(tmp_path / "demo")).groups) == 8


def rows(*names: str, models: tuple[str, ...] = ("m",)) -> list[Group]:
    """Rows without runs, a row a strategy and model."""
    return [Group(model, name, "d", {}, []) for name in names for model in models]


def test_colours_are_stable() -> None:
    few, many = rows("finetune", "scratch"), rows("finetune", "scratch", "ema", "a", "b")
    assert [Palette(few).colour(row) for row in few] == [Palette(many).colour(row) for row in many[:2]]
    assert len({Palette(many).colour(row) for row in many}) == 5


def test_looks_are_told_apart() -> None:
    many = rows(*(f"strategy_{k}" for k in range(33)))
    palette = Palette(many)
    assert len({palette.colour(row) for row in many}) == 33
    models = rows("scratch", models=("a", "b", "c"))
    assert len({Palette(models).colour(row) for row in models}) == 3


def test_spread_out() -> None:
    placed = spread_out([5.0, 5.1, 0.0, 9.9], 1.0, 0.0, 10.0)
    assert placed == pytest.approx([4.55, 5.55, 0.0, 9.9])
    crowded = sorted(spread_out([9.9, 9.8, 9.7], 1.0, 0.0, 10.0))
    assert crowded == pytest.approx([8.0, 9.0, 10.0])


def test_numbers_for_people() -> None:
    assert [count(value) for value in (812, 12_810, 3_383_818, 999_999, 0.5)] == [
        *("812", "12.8 k", "3.4 M", "1.0 M", "0.5"),
    ]
    assert [duration(value) for value in (0.123, 12.34, 204.0, 5400.0, 9000.0)] == [
        *("0.12 s", "12.3 s", "3.4 min", "90.0 min", "2.5 h"),
    ]


def test_stat_of_missing_and_single_values() -> None:
    assert stat([]) is None
    assert stat([0.5, None]) is None
    single = stat([0.5])
    assert single is not None
    assert single.std is None
    assert single.interval is None


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
