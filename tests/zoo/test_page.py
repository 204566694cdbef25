"""The page stands alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from report.pages import Page
from zoo.networks import read


def test_the_page_stands_alone(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["frontier.png", "index.html", "zoo.csv", "zoo.md"]
    html = (folder / "index.html").read_text("utf-8")
    assert "<th" in html
    assert "Keras&#39; name" not in html, "none of these networks has one"
    page = Page(html)
    assert not page.unclosed
    assert not page.mistakes
    links = [value or "" for tag, name, value in page.attributes if name in ("src", "href") and tag != "a"]
    assert len(links) == 2
    assert all(link.startswith("data:") for link in links)
    table = read((folder / "zoo.csv").read_text("utf-8"))
    assert ("73.158", "73.2") in page.cells
    assert table["resnet34"]["ms_cpu"] in [value for value, _ in page.cells]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_the_page_opens_without_errors(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}",
         "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", (folder / "index.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "<button" in done.stdout, "its script ran"
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
