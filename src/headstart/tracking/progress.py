"""What a run is doing just now: a line at least every ten seconds, and on a terminal a bar.

The work itself only counts (`Task.done`). A thread looks at the clock and writes, so that a training step waits neither
for the console nor for a device, and a fit without steps is seen too.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from headstart.config.words import spell_seconds
from headstart.tracking.console_filter import ConsoleFilter

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds without a line after which one is written
LOOK = 0.5  # seconds between two looks at the clock; a bar is drawn as often
BAR = 24  # characters


@dataclass
class Task:
    """A piece of work that can take long: its name, and how much of it is done."""

    what: str
    total: int = 0  # 0: it is not known how much there is to do
    unit: str = "images"
    done: int = 0
    skipped: int = 0  # were done before this task began: they say nothing of its speed
    began: float = field(default_factory=time.monotonic)

    def describe(self, now: float) -> str:
        """Say how far the work is, and how long the rest of it takes."""
        done, seconds = self.done, now - self.began
        if not self.total:
            return f"{self.what}, {spell_seconds(seconds)} so far"
        fresh = done - self.skipped
        left = f", about {spell_seconds(seconds / fresh * (self.total - done))} left" if fresh > 0 else ""
        return f"{self.what}: {done:,} of {self.total:,} {self.unit}{left}"


@dataclass
class Watch:
    """What the console shows of the run of this process.

    Attributes:
        label: what the lines begin with, such as `job 2 of 18  finetune  seed 1`; empty for a run that is no job.
        left: returns the seconds that a whole sweep still takes, or None if that is not known.
        shown: facts that this sweep has already shown; `ConsoleFilter` adds to it.
        ended: returns how many of the sweep's jobs have ended, and how, in words.
    """

    label: str = ""
    left: Callable[[], float | None] = lambda: None
    shown: set[str] | None = None
    ended: Callable[[], str] = lambda: ""
    tasks: list[Task] = field(default_factory=list)  # the innermost is the last
    paused: bool = False
    logged: float = field(default_factory=time.monotonic)
    filters: list[ConsoleFilter] = field(default_factory=list)

    def write(self, now: float, *, bar: bool) -> None:
        """Write a line if there was none for long, and draw the bar if the console is a terminal."""
        try:
            task = self.tasks[-1]
        except IndexError:
            return
        if self.paused:
            return
        newest = max([self.logged, *(each.last_line for each in self.filters)])
        if now - (self.logged if bar else newest) >= EVERY:
            self.logged = now
            log.info("%s", self._describe(task, now), extra={"is_progress": True})
        if bar:
            for each in self.filters:
                each.draw(f"{_draw_bar(task, each.unicode)}{self._describe(task, now)}")

    def _describe(self, task: Task, now: float) -> str:
        left = self.left()
        facts = [self.ended(), "" if left is None else f"about {spell_seconds(left)} left"]
        rest = f"  |  all jobs: {', '.join(filter(None, facts))}" if any(facts) else ""
        return f"{self.label}  |  {task.describe(now)}{rest}" if self.label else f"  {task.describe(now)}"


_watch: list[Watch] = []  # of this process: none, or one


def task(what: str, total: int = 0, unit: str = "images") -> AbstractContextManager[Task]:
    """Show this work while it lasts; the caller counts its `done` up."""
    return show(Task(what, total, unit))


@contextmanager
def show(mine: Task) -> Iterator[Task]:
    """Show a task while this context lasts."""
    for watch in _watch:
        watch.tasks.append(mine)
    try:
        yield mine
    finally:
        for watch in _watch:
            if mine in watch.tasks:
                watch.tasks.remove(mine)
            for each in watch.filters:
                each.clear()


@contextmanager
def watch_run(watch: Watch | None = None) -> Iterator[Watch]:
    """Inside this context, a thread shows what the run does; inside another such context nothing changes."""
    if _watch:
        yield _watch[0]
        return
    mine = watch or Watch()
    consoles = [
        each
        for each in logging.getLogger().handlers
        if isinstance(each, logging.StreamHandler) and not isinstance(each, logging.FileHandler)
    ]
    terminal = any(_is_terminal(each.stream) for each in consoles)
    mine.filters = [ConsoleFilter(each.stream, mine.shown, draws=_is_terminal(each.stream)) for each in consoles]
    for each, its in zip(consoles, mine.filters, strict=True):
        each.addFilter(its)
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(LOOK):
            mine.write(time.monotonic(), bar=terminal)

    _watch.append(mine)
    thread = threading.Thread(target=run, name="headstart-progress", daemon=True)
    thread.start()
    try:
        yield mine
    finally:
        ended.set()
        thread.join()
        _watch.clear()
        for each, its in zip(consoles, mine.filters, strict=True):
            its.clear()
            each.removeFilter(its)


def end_facts() -> None:
    """From here on lines are results of this run: each is shown, also if an earlier job had the same."""
    for watch in _watch:
        for each in watch.filters:
            each.shown = None


@contextmanager
def pause() -> Iterator[None]:
    """Inside this context other processes do the work, and show it."""
    for watch in _watch:
        watch.paused = True
    try:
        yield
    finally:
        for watch in _watch:
            watch.paused = False


def export() -> dict[str, Any]:
    """What the first process of several needs to go on with the lines of this one."""
    if not _watch:
        return {}
    watch = _watch[0]
    return {"label": watch.label, "left": watch.left(), "ended": watch.ended(), "shown": sorted(watch.shown or ())}


def add_shown(facts: Iterable[str]) -> None:
    """Add the facts that another process has shown."""
    for watch in _watch:
        if watch.shown is not None:
            watch.shown.update(facts)


def take_over(facts: dict[str, Any]) -> Watch:
    """The watch of the first process of several; `facts` is what `export` returned in the process that started it."""
    began, left = time.monotonic(), facts.get("left")
    return Watch(
        facts.get("label", ""),
        lambda: None if left is None else max(1.0, left - (time.monotonic() - began)),
        set(facts["shown"]) if facts.get("label") else None,
        lambda: str(facts.get("ended", "")),
    )


def _is_terminal(stream: Any) -> bool:
    if stream not in (sys.stdout, sys.stderr) or os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        return bool(stream.isatty())
    except ValueError:  # it is closed
        return False


def _draw_bar(task: Task, unicode: bool) -> str:
    if not task.total:
        return ""
    full, empty = ("━", "─") if unicode else ("#", "-")
    filled = min(BAR, BAR * task.done // task.total)
    return f"{full * filled}{empty * (BAR - filled)}  "
