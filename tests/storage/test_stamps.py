"""What jobs share of a file is made again once the file has changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from headstart.runtime import shared
from headstart.storage import stamps


def write_settled(path: Path, text: str, seconds_ago: float = 60) -> None:
    path.write_text(text)
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


@pytest.fixture
def always_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own time of change cannot be set back, so a file counts as settled at once."""
    monkeypatch.setattr(stamps, "SETTLED", -1)


def read(path: Path, made: list[str]) -> str:
    def make() -> str:
        made.append(path.name)
        return path.read_text()

    return stamps.share_until_changed("text", path, make)


@pytest.mark.usefixtures("always_settled")
def test_a_value_is_made_again_once_its_file_changed(tmp_path: Path) -> None:
    path, made = tmp_path / "file", []
    write_settled(path, "one")
    with shared.between_jobs():
        assert [read(path, made), read(path, made)] == ["one", "one"]
        assert made == ["file"]
        write_settled(path, "two")  # of the same size, with the same time of change but for the system's own
        assert read(path, made) == "two"
    assert read(path, made) == "two"
    assert len(made) == 3, "outside a sweep nothing is shared"


def test_a_file_that_changed_just_now_is_read_each_time(tmp_path: Path) -> None:
    path, made = tmp_path / "file", []
    path.write_text("one")
    with shared.between_jobs():
        read(path, made)
        read(path, made)
    assert made == ["file", "file"]
