"""The documents say what is so: tests and files that they name exist, and no key, choice or verb is left out."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from headstart.cli.main import VERBS
from headstart.config import resolvers
from headstart.config.keys import schema_keys

TOP = Path(__file__).resolve().parents[1]
PAGES = [
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((TOP / "docs").glob("*.md")),
]
generate = runpy.run_path(str(TOP / "docs" / "generate.py"))
GENERATED = {TOP / "docs" / "reference" / f"{name}.md" for name in generate["PAGES"]}  # in the built site only
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
    assert [link for link in links if not (page.parent / link).exists() and page.parent / link not in GENERATED] == []


def test_the_menu_of_the_site_names_every_page_once() -> None:
    menu = tomllib.loads((TOP / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    pages = [page for part in menu for section in part.values() for entry in section for page in entry.values()]
    there = [path.relative_to(TOP / "docs").as_posix() for path in (*(TOP / "docs").glob("*.md"), *GENERATED)]
    assert sorted(pages) == sorted(there)


def test_every_picture_is_small_and_shown() -> None:
    pictures = [path for path in (TOP / "docs" / "pictures").iterdir() if path.is_file()]
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert [path.name for path in pictures if f"pictures/{path.name})" not in text] == []
    sizes = [path.stat().st_size for path in pictures]
    assert max(sizes) <= 150_000
    assert sum(sizes) <= 1_200_000


def test_the_generated_pages_have_every_key_choice_and_verb(tmp_path: Path) -> None:
    generate["main"](tmp_path / "docs")
    text = {path.stem: path.read_text("utf-8") for path in (tmp_path / "docs" / "reference").iterdir()}
    assert set(text) == set(generate["PAGES"])
    assert [key for key in schema_keys() if "." in key and f"`{key}`" not in text["config"]] == []
    for path in resolvers.config_folder().glob("*/*.yaml"):
        if path.parent.name == resolvers.WANDB_SWEEP:
            continue  # no choices of a run: docs/wandb.md
        name = {"strategy": "strategies", "experiment": "studies"}.get(path.parent.name, "choices")
        assert (f"## {path.stem}\n" if name != "choices" else f"`{path.parent.name}={path.stem}`") in text[name]
    assert [verb for verb in VERBS if f"usage: headstart {verb}" not in text["commands"]] == ["train"]
    assert "Groups and choices" in text["commands"]
