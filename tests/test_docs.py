"""The documents say what is so: every test that they name exists, every file that they link to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md")), TOP / "benchmarks" / "README.md"]
NAMED = sorted(  # a file by its name, after its room where two rooms have one of that name
    set(re.findall(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`", (TOP / "docs" / "reliability.md").read_text("utf-8")))
)


def test_many_are_named() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_exists(file: str, test: str) -> None:
    (path,) = (TOP / "tests").rglob(file)
    assert f"def {test}(" in path.read_text("utf-8")


@pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.name if page.parent != TOP / "benchmarks" else "benchmarks"
)
def test_a_linked_file_is_there(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
