"""What was found before a network fails, dies or hangs is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart.zoo import children


def raising() -> Iterator[dict[str, int]]:
    """Work for `children.ask` that finds something and then fails."""
    yield {"found": 1, "silent": os.path.samestat(os.fstat(1), Path(os.devnull).stat())}
    raise ValueError("a reason\nand its details")


def dying() -> Iterator[dict[str, int]]:
    """The same, and its process is killed."""
    yield {"found": 1}
    time.sleep(0.1)
    os.kill(os.getpid(), 9)


def hanging() -> Iterator[dict[str, int]]:
    """The same, and it never ends."""
    yield {"found": 1}
    time.sleep(1000)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("raising", "ValueError: a reason"),
        ("dying", "SIGKILL (out of memory?)"),
        pytest.param("hanging", "longer than 6 s", marks=pytest.mark.slow),
    ],
)
def test_what_was_found_before_a_failure_is_kept(work: str, reason: str) -> None:
    found = children.run_in_process(f"zoo.test_children:{work}", timeout_s=6 if work == "hanging" else 60)
    assert found["found"] == 1
    assert found["error"].endswith(reason)
    assert found.get("silent", True), "standard output belongs to the table"
