"""A page that is kept current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headstart.cli.compare import main
from headstart.report import watch as module
from headstart.report.watch import take_fingerprint, watch
from report.browser import BROWSER, PATIENCE_MS
from report.studies import compared
from study_files import write_run


def test_the_page_is_written_when_a_run_changes_and_only_then(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0)
    written: list[str] = []
    steps = iter(["nothing", "completed", "failed", "end"])

    def wait(_: float) -> None:
        step = next(steps)
        if step == "completed":
            write_run(tmp_path, seed=1)
        if step == "failed":
            folder = tmp_path / "demo" / "a-run"
            folder.mkdir()
            (folder / "state.json").write_text(json.dumps({"status": "failed"}))
        if step == "end":
            raise KeyboardInterrupt

    watch([tmp_path / "demo"], written.append, wait)
    assert len(written) == 4
    assert len(set(written)) == 4, "each has a stamp of its own"
    assert written[-1] == "", "the last page looks for no newer one"


def test_a_run_that_is_being_written_does_not_disturb(tmp_path: Path) -> None:
    write_run(tmp_path)
    before = take_fingerprint([tmp_path / "demo"])
    (tmp_path / "demo" / ".half").mkdir()
    (tmp_path / "demo" / "report").mkdir()
    assert take_fingerprint([tmp_path / "demo"]) == before


def test_watch_waits_for_the_first_run_and_ends_with_a_plain_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path)
    result = (folder / "result.json").read_text()
    (folder / "result.json").unlink()
    steps = iter([lambda: (folder / "result.json").write_text(result)])

    def wait(_: float) -> None:
        page = tmp_path / "demo/report/index.html"
        if page.exists():
            assert 'watchForNewer("' in page.read_text("utf-8")
            assert (tmp_path / "demo/report/stamp.js").is_file()
        next(steps, lambda: (_ for _ in ()).throw(KeyboardInterrupt))()

    monkeypatch.setattr(module.watch, "__defaults__", (wait,))
    assert main(["demo", "--output-dir", str(tmp_path), "--watch", "--no-plots"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "waiting: Study demo has no completed run" in said
    assert "1 completed runs: " in said
    assert 'watchForNewer("' not in (tmp_path / "demo/report/index.html").read_text("utf-8")
    assert not (tmp_path / "demo/report/stamp.js").exists()


@pytest.mark.skipif(BROWSER is None, reason="Debian's chromium is not installed")
def test_an_open_page_loads_the_newer_one_unless_it_is_being_read(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path)
    page, tabs = tmp_path / "demo/report/index.html", [browser.new_page(), browser.new_page()]
    rows = "document.querySelectorAll('#summary tbody tr').length"

    def open_and_complete_another() -> None:
        for tab in tabs:
            tab.set_default_timeout(PATIENCE_MS)
            tab.goto(page.as_uri())
        tabs[1].keyboard.press("ArrowDown")
        write_run(tmp_path, strategy="scratch")

    def look() -> None:
        tabs[0].wait_for_function(f"{rows} === 2")
        tabs[1].wait_for_selector("#newer:not([hidden])")
        assert tabs[1].evaluate(rows) == 1
        tabs[1].click("#newer a")
        tabs[1].wait_for_function(f"{rows} === 2")
        raise KeyboardInterrupt

    steps = iter([open_and_complete_another, look])
    monkeypatch.setattr(module.watch, "__defaults__", (lambda _: next(steps)(),))
    assert main(["demo", "--output-dir", str(tmp_path), "--watch", "--no-plots"]) == 0
    for tab in tabs:
        tab.close()


def test_studies_stand_side_by_side_and_their_runs_are_no_seeds_of_one_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for study, skill in (("first", 2.0), ("second", 3.0)):
        for seed in range(2):
            write_run(tmp_path, study, seed=seed, skill=skill)
    compared(tmp_path, "first", "second")
    said = capsys.readouterr().out
    assert "study first + second" in said
    page = (tmp_path / "first+second/report/index.html").read_text("utf-8")
    assert "Take study second" in page
    assert page.count('href="../../first/efficientnet_lite0-finetune-digits-s') == 2
    rows = (tmp_path / "first+second/report/summary.csv").read_text().splitlines()
    assert len(rows) == 3
    assert [row.split(",")[rows[0].split(",").index("seeds")] for row in rows[1:]] == ["0 1", "0 1"]
