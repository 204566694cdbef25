"""Long work shows itself, and a sweep says what is equal in its jobs once."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator

import pytest

from headstart.tracking import progress
from headstart.tracking.console_filter import ConsoleFilter

log = logging.getLogger("headstart.test")


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    """A console of its own, which gets the lines of the package at INFO."""
    stream, root, ours = io.StringIO(), logging.getLogger(), logging.getLogger("headstart")
    handler, before = logging.StreamHandler(stream), ours.level
    ours.setLevel(logging.INFO)
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    ours.setLevel(before)


def test_silent_work_says_how_far_it_is(console: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.05)
    monkeypatch.setattr(progress, "LOOK", 0.01)
    with (
        progress.watch_run(progress.Watch("job 2 of 3  finetune  seed 1", lambda: 300.0)),
        progress.task("all, epoch 1 of 2", 8, "batches") as work,
    ):
        work.done = 4
        limit = time.monotonic() + 10
        while "batches" not in console.getvalue() and time.monotonic() < limit:
            time.sleep(0.01)
    (line, *_) = console.getvalue().splitlines()
    assert line.startswith("job 2 of 3  finetune  seed 1  |  all, epoch 1 of 2: 4 of 8 batches, about ")
    assert line.endswith("  |  all jobs: about 5 min left")
    assert not progress._watch


def test_time_left_is_of_what_this_attempt_did() -> None:
    work = progress.Task("all", 100, "batches", done=60, skipped=50, began=0.0)
    assert work.describe(20.0) == "all: 60 of 100 batches, about 80 s left"


def test_facts_are_shown_once_in_a_sweep_and_results_always(console: io.StringIO) -> None:
    shown: set[str] = set()
    for _ in range(2):
        with progress.watch_run(progress.Watch(shown=shown)):
            log.info("10 classes")
            log.error("no room")
            progress.end_facts()
            log.info("accuracy 50 %")
    assert console.getvalue().splitlines() == ["10 classes", "no room", "accuracy 50 %", "no room", "accuracy 50 %"]


def test_a_run_that_is_no_job_shows_every_fact(console: io.StringIO) -> None:
    for _ in range(2):
        with progress.watch_run():
            log.info("10 classes")
    assert console.getvalue().count("10 classes") == 2


def test_a_bar_makes_room_for_a_line_and_stands_in_place_of_lines_of_progress() -> None:
    stream = Terminal()
    its = ConsoleFilter(stream, None, draws=True)
    its.last_line -= 1
    its.draw("half")
    record = log.makeRecord(log.name, logging.INFO, "", 0, "epoch 1", (), None)
    assert its.filter(record)
    assert stream.getvalue() == "\r\x1b[Khalf\r\x1b[K"
    assert not its.filter(log.makeRecord(log.name, 20, "", 0, "half", (), None, extra={"is_progress": True}))


def test_the_first_process_of_several_goes_on_with_the_lines_of_its_parent(console: io.StringIO) -> None:
    with progress.watch_run(progress.Watch("job 1 of 2", lambda: 60.0, {"10 classes"})):
        facts = progress.export()
    taken = progress.take_over(facts)
    assert (taken.label, taken.shown) == ("job 1 of 2", {"10 classes"})
    assert 50 < (taken.left() or 0) <= 60
    assert progress.take_over({}).shown is None
