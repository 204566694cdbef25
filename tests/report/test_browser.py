"""The page in a browser: what it shows of all runs and of a subset, to whom, and without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import yaml
from PIL import Image

from headstart.report.charts.render import make_spec
from headstart.report.charts.scatter import list_ticks
from headstart.report.charts.tables import Table, list_costs, list_curves, list_scores
from headstart.report.page.single_rows import plot_calibration, plot_confusions
from headstart.report.page.store import kind_of
from headstart.report.page.two_rows import list_classes, plot_classes, plot_verdicts
from headstart.report.stats.contrast import Contrast, contrasts
from headstart.report.stats.families import families
from headstart.report.stats.worth import SECONDS
from headstart.report.study.columns import COLUMNS
from headstart.report.study.groups import compare
from headstart.report.study.read import read
from report.browser import BROWSER, DRAW, opened
from report.photos import write_photos
from report.studies import half_width, made
from study_files import write_demo, write_run

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Debian's chromium is not installed")
NASTY = ["<script>alert(1)</script>", "a\"b'c/d\\e", "🐈 猫", "x" * 200, "{{ 7 * 7 }}"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, and a strategy with two phases."""
    outputs = tmp_path_factory.mktemp("outputs")
    for folder in write_demo(outputs):
        words = [f"strategy={folder.name.split('-')[1]}", f"seed={folder.name.split('-')[3][1:]}", "epochs=8"]
        (folder / "overrides.yaml").write_text(yaml.safe_dump(words))
    for seed in range(2):
        write_run(outputs, strategy="head_then_all", seed=seed)
    made(outputs)
    return outputs


@pytest.fixture(scope="module")
def tab(browser: Any, outputs: Path) -> Iterator[Any]:
    """The page of the study, open in one tab for all tests, each of which leaves it as it was."""
    with opened(browser, outputs / "demo/report/index.html", viewport={"width": 1200, "height": 900}) as (tab, said):
        yield tab
        assert said == [], "it complains of nothing and asks for nothing but itself"


def alike(ours: Any, theirs: Any) -> bool:
    """Whether two tables hold the same, numbers to the ninth digit."""
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    if isinstance(ours, dict):
        return all(alike(value, theirs.get(key)) for key, value in ours.items())
    if isinstance(ours, float):
        return theirs is not None and bool(np.isclose(ours, theirs, rtol=1e-6, atol=1e-9))
    return bool(ours == theirs) or (ours is False and theirs in (None, False))


def test_the_script_computes_what_python_does(tab: Any, outputs: Path) -> None:
    table = Table(compare(read(outputs / "demo")))
    rows, seeds = list_scores(table)
    found = tab.evaluate("scoreTables()")
    assert alike(rows, found["rows"])
    assert alike(seeds, found["seeds"])
    groups = table.comparison.groups
    points, dots, corners = list_costs(table, groups, SECONDS)
    assert all(point["low"] is not None for point in points)
    by_row = {
        point["row"]: point for point in tab.evaluate("costTables(study.tasks[0].rows, 'seconds', 'accuracy').points")
    }
    assert alike(points, [by_row[point["row"]] for point in points])
    front = tab.evaluate("costTables(study.tasks[0].rows, 'seconds', 'accuracy').front")
    assert alike(corners, [(corner["x"], corner["y"]) for corner in front[:-1]])
    assert len(tab.evaluate("costTables(study.tasks[0].rows, 'seconds', 'accuracy').dots")) == len(dots)
    lines, levels = list_curves(table, groups)
    curves = tab.evaluate("curveTables(study.tasks[0].rows)")
    assert {point["x"] for point in lines if point["begins"]} == {0}
    assert len(curves["points"]) == len(lines)
    for ours, theirs in zip([*lines, *levels], [*curves["points"], *curves["levels"]], strict=True):
        assert alike({k: v for k, v in ours.items() if not isinstance(v, float)}, theirs)
        assert theirs["y"] == pytest.approx(ours["y"], abs=1e-3), "accuracies by epoch are kept with five digits"


@pytest.mark.parametrize("span", [(14.8, 24.0), (8.0, 25.0), (90.0, 130.0), (50.0, 4000.0), (0.21, 0.29)])
def test_the_script_has_the_ticks_that_python_has(span: tuple[float, float], tab: Any) -> None:
    assert tab.evaluate("span => ticksOf(span, 'duration')", list(span)) == pytest.approx(list_ticks(span, "seconds"))


def test_the_script_writes_numbers_as_python_does(tab: Any) -> None:
    cells = """[...document.querySelectorAll('#summary tbody tr')].map(row => [...row.cells].map((cell, at) =>
        columnNames[at] ? [cell.textContent, cellOf(+row.dataset.id, columnNames[at], cell.textContent)[0]] : null))"""
    pairs = [pair for row in tab.evaluate(cells) for pair in row if pair]
    assert len(pairs) > 30
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
    values = [0.0, 0.0314, 0.341, 1.0, 11.94, 901.0, 5999.0, 12_810.0, 3_383_818.0]
    for column in COLUMNS:
        found = tab.evaluate("([kind, values]) => values.map(writers[kind])", [kind_of(column), values])
        assert found == [column.write(value) for value in values], column.name


def test_a_subset_has_its_own_numbers_and_says_so(tab: Any, outputs: Path) -> None:
    decision = tab.inner_text("p.decision")
    tab.click("#filter summary:has-text('seed')")
    tab.uncheck("#filter fieldset[data-dim='1'] input[value='2']")
    tab.click("#filter summary:has-text('strategy')")
    tab.uncheck("#filter label:has-text('scratch') input")
    assert tab.inner_text("#subset").startswith("This is a subset: 3 of 4 rows, 6 of 11 runs. The decision above")
    assert tab.inner_text("p.decision") == decision
    rows = tab.evaluate("[...document.querySelectorAll('#summary tbody tr:not([hidden])')].map(row => row.innerText)")
    results = [json.loads(path.read_text()) for path in (outputs / "demo").glob("*-finetune-*/result.json")]
    values = [result["test"]["accuracy"] for result in results if result["seed"] < 2]
    (row,) = [row for row in rows if row.startswith("finetune")]
    assert f"\t2\t{100 * np.mean(values):.1f} ± {100 * half_width(values):.1f}\t" in row
    assert not any("scratch" in row for row in rows)
    drawn = tab.text_content("figure[data-kind=scores] svg")
    assert f"{100 * np.mean(values):.1f} ± {100 * half_width(values):.1f}" in drawn
    assert "scratch" not in drawn
    hidden = "[...document.querySelectorAll('figure[data-plot^=confusion]')].map(figure => figure.hidden)"
    assert sorted(tab.evaluate(hidden)) == [False, False, False, True]
    tab.click("#filter button[type=reset]")
    tab.wait_for_function("document.querySelectorAll('#summary tbody tr[hidden]').length === 0 && isWhole()")
    assert tab.inner_text("#subset") == ""


def take(spec: Any) -> dict[str, Any]:
    """The tables of a figure's only chart."""
    (chart,) = spec.charts
    found: dict[str, Any] = make_spec(chart)["datasets"]
    return found


def draw_again(table: Table, rows: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """The tables that Python makes for the page's charts of single rows and of two rows, by kind and names of rows."""
    plots = [("confusion", plot_confusions(table)[0]), ("reliability", plot_calibration(table)[0])]
    (task, known), *_ = table.comparison.tasks().items()
    (family,) = families(table.comparison, None)
    found = {
        f"{kind} {table.comparison.groups[plot.rows[0]].strategy}": take(plot) for kind, own in plots for plot in own
    }
    for kind in ("classes", "verdicts"):
        for names in rows[kind]:
            one, other = (next(row for row in known if row.strategy == name) for name in names)
            contrast, about = Contrast(task, family.between(one, other)), " ".join(names)
            plot = plot_classes(table, contrast, 1, "") if kind == "classes" else plot_verdicts(table, contrast, 1, "")
            found[f"{kind} {about}"] = take(plot)
    return found


@pytest.mark.parametrize("seeds", [{"0", "1", "2"}, {"0", "2"}, {"1"}])
def test_charts_of_a_subset_of_seeds_are_those_of_a_study_of_these_runs(
    seeds: set[str], tab: Any, outputs: Path
) -> None:
    """Confusions, calibration, classes and verdicts, with the sentences under them and the tables of classes."""
    tab.evaluate(
        """async seeds => { kept[seedDim].clear();
        study.dims[seedDim].values.forEach((seed, at) => { if (seeds.includes(seed)) kept[seedDim].add(at); });
        await filter(); await settled; }""",
        sorted(seeds),
    )
    found = tab.evaluate(
        """figures.filter(each => ['confusion', 'reliability', 'classes', 'verdicts'].includes(each.kind)).map(each => {
        const tables = tablesOf(each, 0), caption = each.element.querySelector('figcaption')?.textContent;
        return [each.kind + ' ' + each.rows.map(row => study.rows[row].name).join(' '), tables,
            [caption, each.views[0].data(Object.keys(tables)[0])]]; })"""
    )
    drawn = {name: views for name, _, views in found}
    rows = {kind: [name.split()[1:] for name in drawn if name.startswith(kind)] for kind in ("classes", "verdicts")}
    study = read(outputs / "demo")
    table = Table(compare(replace(study, runs=[run for run in study.runs if str(run.repeat) in seeds])))
    expected = draw_again(table, rows)
    assert len(rows["verdicts"]) == 2
    assert {name for name, _, _ in found} == set(expected)
    for name, tables, _ in found:
        ours = {key: rows for key, rows in expected[name].items() if key in tables}
        # the classes stand as those of the whole study, and two rows' colours are those of the whole study
        for key in ours:
            same = sorted if key in ("classes", "ends") else list
            one, other = (
                same(each[key], key=lambda line: (line["class"], line.get("label"))) if same is sorted else each[key]
                for each in (ours, tables)
            )
            assert alike(one, other), (name, key)
    assert all(len(view) > 0 for _, view in drawn.values())
    for plot in plot_confusions(table)[0]:
        assert drawn[f"confusion {table.comparison.groups[plot.rows[0]].strategy}"][0] == plot.caption
    lines = """[...document.querySelectorAll('table[data-kind=classes]')].map(each => [
        each.closest('details').querySelector('summary').textContent,
        [...each.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))])"""
    listings = list_classes(
        table, list(families(table.comparison, None)), contrasts(table.comparison, families(table.comparison, None))
    )
    by_name = {listing.folded.partition(":")[0]: listing for listing in listings}
    for title, shown in tab.evaluate(lines):
        listing = by_name.get(title.partition(":")[0])
        if listing is not None:
            assert sorted([cell.text for cell in row] for row in listing.rows) == sorted(shown)
    badge = "getComputedStyle(document.querySelector('.of-study'), '::before').content"
    assert ("of the whole study" in tab.evaluate(badge)) == (len(seeds) < 3)
    tab.evaluate("document.querySelector('#filter button[type=reset]').click()")
    tab.wait_for_function("isWhole() && document.getElementById('subset').textContent === ''")


def test_a_run_opens_to_what_it_did(tab: Any) -> None:
    tab.evaluate("document.querySelector('details.first').open = true")
    tab.click("#runs tr:has-text('head_then_all') a")
    text = tab.inner_text("#run")
    assert "frozen" in text
    tab.keyboard.press("Escape")
    tab.click("#runs tr:has-text('-finetune-') >> nth=0 >> a")
    assert "headstart train strategy=finetune seed=0 epochs=8" in tab.inner_text("#run pre")
    tab.wait_for_selector("#run .chart svg >> nth=1")
    tab.set_viewport_size({"width": 360, "height": 900})
    tab.wait_for_function(
        "document.querySelector('#run .scroll').matches('.more')"
    )  # a wide table says that it goes on
    tab.set_viewport_size({"width": 1200, "height": 900})
    assert tab.get_attribute("#run a >> nth=0", "href").startswith("../efficientnet_lite0-finetune-digits-s0-")
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#run")


def test_the_axes_of_the_chart_of_cost_are_chosen(tab: Any) -> None:
    tab.select_option(".axes select >> nth=0", "params_trainable")
    tab.select_option(".axes select >> nth=1", "nll")
    tab.wait_for_function("document.querySelector('figure[data-kind=cost] svg').textContent.includes('test NLL')")
    assert "trained parameters (log scale)" in tab.text_content("figure[data-kind=cost] svg")
    tab.select_option(".axes select >> nth=0", "seconds")
    tab.select_option(".axes select >> nth=1", "accuracy")


def test_a_heading_sorts_its_table(tab: Any) -> None:
    head = tab.locator("#summary th:has-text('accuracy') button")
    orders = []
    for _ in range(2):
        head.press("Enter")
        orders.append(
            tab.evaluate("[...document.querySelectorAll('#summary tbody tr')].map(row => row.cells[0].innerText)")
        )
    assert orders[0] == orders[1][::-1]
    assert {orders[0][0], orders[0][-1]} >= {"scratch"}


OVERLAPS = """() => { const found = [];
  for (const svg of document.querySelectorAll('figure.plot svg')) {
    const texts = [...svg.querySelectorAll('text')]
      .filter(text => text.textContent.trim() && Number(getComputedStyle(text).opacity) > 0)
      .filter(text => text.getAttribute('opacity') !== '0')
      .map(text => [text.textContent, text.getBoundingClientRect()]);
    const points = [...svg.querySelectorAll('.mark-symbol.role-mark path, .mark-rule.role-mark line')]
      .map(path => ['a mark or bar', path.getBoundingClientRect()]);
    const inside = box => ({left: box.left + 1, right: box.right - 1, top: box.top + 2, bottom: box.bottom - 2});
    texts.forEach(([one, a], at) => [...texts.slice(at + 1), ...points].forEach(([other, b]) => {
      const p = inside(a), q = inside(b);
      if (p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom) found.push([one, other]);
    }));
  }
  return found; }"""


SIZES = """[...document.querySelectorAll('main *')]
  .filter(each => each.checkVisibility() && [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(each => { const turned = each.getScreenCTM ? each.getScreenCTM() : {a: 1, b: 0};
    return Math.hypot(turned.a, turned.b) * parseFloat(getComputedStyle(each).fontSize); })"""


@pytest.mark.parametrize("width", [1200, 400])
def test_no_label_lies_on_another_or_on_a_mark_and_small_ones_are_legible(width: int, tab: Any) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    tab.evaluate(DRAW)
    assert tab.evaluate(OVERLAPS) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert min(tab.evaluate(SIZES)) >= 9.9
    above = """[...document.querySelectorAll('figure[data-kind=reliability] svg.marks')].map(svg => {
        const all = [...svg.querySelectorAll('.role-axis-grid line')].map(line => line.getBoundingClientRect().top);
        return svg.querySelector('.mark-text.role-mark text').getBoundingClientRect().bottom <= Math.min(...all); })"""
    assert set(tab.evaluate(above)) == {True}, "calibration errors stand above the plot"
    tab.set_viewport_size({"width": 1200, "height": 900})
    tab.evaluate(DRAW)


@pytest.mark.parametrize(
    ("scheme", "width"),
    [("light", 360), *(pytest.param(scheme, 1200, marks=pytest.mark.slow) for scheme in ("light", "dark"))],
)
def test_axe_finds_nothing(scheme: str, width: int, tab: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 900})
    tab.evaluate(
        "document.querySelectorAll('details').forEach(each => { each.open = !each.closest('.filter, .vega-embed'); })"
    )
    found = Axe().run(tab).response["violations"]
    told = {each["id"]: [node["html"][:200] for node in each["nodes"]][:3] for each in found}
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size({"width": 1200, "height": 900})
    assert told == {}


def test_a_print_is_light_and_no_table_is_cut(tab: Any) -> None:
    """On A4, of which 718 pixels are between the margins, with the colours of a reader whose screen is dark."""
    tab.set_viewport_size({"width": 718, "height": 900})
    tab.emulate_media(media="print", color_scheme="dark")
    wide = """[...document.querySelectorAll('.scroll')].filter(box => box.checkVisibility()
        && box.scrollWidth > box.clientWidth + 1).map(box => box.getAttribute('aria-label'))"""
    hints = "[...document.querySelectorAll('.scroll')].map(box => getComputedStyle(box, '::before').content)"
    assert tab.evaluate(wide) == []
    assert set(tab.evaluate(hints)) == {"none"}
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.emulate_media(media="screen", color_scheme="light")
    tab.set_viewport_size({"width": 1200, "height": 900})


def test_without_a_script_the_decision_the_table_and_the_first_charts_are_there(browser: Any, outputs: Path) -> None:
    with opened(browser, outputs / "demo/report/index.html", java_script_enabled=False) as (tab, said):
        assert "Take finetune" in tab.inner_text("p.decision")
        assert tab.locator("#summary tbody tr").count() == 4
        for kind in ("scores", "cost"):
            assert "finetune" in tab.text_content(f"figure[data-kind={kind}] svg")
        assert not tab.is_visible("#filter")
        assert said == []


def test_a_run_shows_its_mistakes_with_pictures_that_link_to_their_files(browser: Any, tmp_path: Path) -> None:
    photos, classes = tmp_path / "photos #1", ["a cat", "<img src=x onerror=alert(1)>"]
    run = write_run(tmp_path, classes=classes)
    known = write_photos(run, photos, classes, [f"{at} 🐈 a\"b'c<b>%20#{at}.png" for at in range(10)])
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | known))
    (run / "figures").mkdir()
    for name in ("why.png", "confusion.png"):
        Image.new("RGB", (1600, 400), "red").save(run / "figures" / name)
    made(tmp_path)
    with opened(browser, tmp_path / "demo/report/index.html", viewport={"width": 800, "height": 800}) as (tab, said):
        tab.evaluate("openRun(study.runs[0])")
        links = tab.evaluate(
            "[...document.querySelectorAll('#run .cards a, main .cards a')].map(a => [a.href, a.text])"
        )
        loaded = "[...document.querySelectorAll('#run .cards img')].map(each => each.complete && each.naturalWidth)"
        assert tab.evaluate(loaded) == [128] * (len(links) // 2)
        assert tab.evaluate("document.querySelector('#run .figures img').naturalWidth") == 800
        (own,) = tab.evaluate("[...document.querySelectorAll('#run .figures a')].map(a => a.href)")
        assert own.endswith("/figures/why.png"), "the page draws the confusion matrix itself"
        assert "says <img src=x onerror=alert(1)> (50 %)" in tab.inner_text("#run .cards li >> nth=0")
        files = {unquote(urlparse(href).path): text for href, text in links}
        assert len(files) >= 2
        assert all(Path(file).is_file() and Path(file).name in text for file, text in files.items())
        assert said == []


def test_any_name_is_shown_as_text(browser: Any, tmp_path: Path) -> None:
    for seed in range(2):
        for name in NASTY:
            changes = {"strategy.note": name}
            folder = write_run(tmp_path, classes=NASTY, strategy="finetune", changes=changes, seed=seed)
            (folder / "overrides.yaml").write_text(yaml.safe_dump([f"strategy.note={name}", f"seed={seed}"]))
    made(tmp_path, "demo", "--all-pairs")
    with opened(browser, tmp_path / "demo/report/index.html", viewport={"width": 400, "height": 800}) as (tab, said):
        assert said == []
        table = tab.text_content("#summary")
        assert all(name in table for name in NASTY)
        assert NASTY[0] in tab.text_content("figure[data-kind=scores] svg")
        tab.evaluate("openRun(study.runs[0])")
        assert tab.text_content("#run pre").startswith("headstart train 'strategy.note=")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 400
        tab.evaluate("document.getElementById('run').close()")
        tab.set_viewport_size({"width": 1200, "height": 800})
        cut = "(box => box.scrollWidth - box.clientWidth)(document.getElementById('summary').parentElement)"
        assert tab.evaluate(cut) == 0, "a long name leaves the numbers beside it in sight"
        # differences between rows are those of the seeds that are kept, and none of these is tested
        tab.evaluate("async () => { kept[seedDim].delete(1); await filter(); await settled; }")
        drawn = "figures.find(figure => figure.kind === 'pairs').views[0].data('pairs')"
        names = tab.evaluate(f"{drawn}.map(cell => [cell.one, cell.other].map(row => runsOf[row][0].name))")
        scores = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("demo/*/result.json")}
        for sides, cell in zip(names, tab.evaluate(drawn), strict=True):
            one, other = (scores[name]["test"]["accuracy"] for name in sides)
            assert (cell["gain"], cell["shown"]) == (pytest.approx(one - other), False)
        assert len(names) == len(NASTY) * (len(NASTY) - 1)
