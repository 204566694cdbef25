"""Watch over the process that runs a sweep: if one job kills it, the others go on in a new one.

The system kills a process when memory runs out, and a library may crash; neither can be caught inside. So the console
command of a sweep runs in a child. The parent imports nothing but this, and only waits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.runtime.signals import SIGNALS, end_with_parent, ignore_echoes

if TYPE_CHECKING:
    from headstart.storage.journal import JobState, Launch

PLACE = "HEADSTART_SWEEP"  # names the file in which the child says where its journal is
KILLED = "HEADSTART_KILLED_BY"  # names the signal that ended the process before this one
SWEEPS = ("-m", "--multirun", "--sweep", "hydra.mode=MULTIRUN")
OVER = "over"  # beside the former: made by a child whose command has come to its end
VANISHED = (
    "the process of the sweep has ended without a word. Ray ends it so where its own processes on this machine have "
    "died (out of memory, or killed). The same command goes on, and skips what is complete"
)
ECHO = 0.3  # seconds: a terminal sends Ctrl-C to both processes, and the parent passes it on
QUERIES = ("-h", "--help", "--hydra-help", "-c", "--cfg", "-i", "--info", "--explain", "-sc", "--shell-completion")


@dataclass
class _Child:
    """What the parent told this process, if there is one."""

    place: Path | None = None
    killed_by: int = 0  # a signal; 0: this is the first process of the command


_child = _Child()


def run(argv: Sequence[str]) -> int | None:
    """Run `headstart ARGV` in a child, again after each job that kills it; returns the exit code.

    Returns:
        None if this is no sweep, or the child itself: the command is to run in this process.
    """
    if PLACE in os.environ:
        _child.place, _child.killed_by = Path(os.environ.pop(PLACE)), int(os.environ.pop(KILLED, 0))
        end_with_parent(signal.SIGKILL)
        ignore_echoes(ECHO)
        return None
    words = {word.partition("=")[0] if word.startswith("-") else word for word in argv}
    if argv[:1] != ["train"] or not words & set(SWEEPS) or words & set(QUERIES) or os.environ.get("HEADSTART_DEBUG"):
        return None
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        place = Path(folder) / "journal"
        environment = os.environ | {PLACE: str(place)}
        killed: set[str] = set()
        while True:
            code = _run_child(environment)
            if code == 1 and not place.with_name(OVER).exists():
                print(f"headstart: {VANISHED}", file=sys.stderr, flush=True)
            if code >= 0:
                return code
            job = None if -code in SIGNALS else _find_running(place)
            if job is None or job in killed:
                return 128 - code
            killed.add(job)
            print(f"headstart: {job}: {_explain(-code)}; the others go on", file=sys.stderr, flush=True)
            environment[KILLED] = str(-code)


def _run_child(environment: dict[str, str]) -> int:
    """Run the command again in a child, and pass signals on to it; returns its exit code, negative after a signal."""
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # signals that came before there was a child

    def pass_on(signum: int, _: object) -> None:
        early.extend([] if children else [signum])
        for child in children:
            child.send_signal(signum)

    before = {each: signal.signal(each, pass_on) for each in SIGNALS}
    try:
        children.append(subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment))
        for signum in early:
            children[0].send_signal(signum)
        return children[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _find_running(place: Path) -> str | None:
    """Name the job that was running when the child ended; None if there was none."""
    from headstart.storage.journal import RUNNING

    launch = _read_launch(place)
    return next((job.name for job in launch.jobs if job.state == RUNNING), None) if launch else None


def _explain(signum: int) -> str:
    name = signal.Signals(signum).name
    why = " (the system does so when memory runs out)" if signum == signal.SIGKILL else ""
    return f"its process was ended by {name}{why}"


def _read_launch(place: Path) -> Launch | None:
    """Read the journal of the last process that said where its is."""
    from headstart.storage.journal import read_launch

    return read_launch(Path(place.read_text("utf-8"))) if place.is_file() else None


def announce(path: Path) -> None:
    """Tell the parent, if there is one, where the journal of this process is."""
    if _child.place is not None:
        _child.place.write_text(str(path.absolute()), "utf-8")


def tell_end() -> None:
    """Tell the parent, if there is one, that the command has come to its end, whatever its code is."""
    if _child.place is not None:
        with suppress(OSError):  # the parent may be gone, and its folder with it
            _child.place.with_name(OVER).touch()


def find_ended(jobs: Sequence[JobState]) -> dict[int, JobState]:
    """Find the jobs that have ended in a process of this command that was killed, by number, the killed one among them.

    Args:
        jobs: as they are listed now.
    """
    from headstart.storage.journal import ENDED, FAILED, RUNNING

    launch = _read_launch(_child.place) if _child.place is not None and _child.killed_by else None
    if launch is None or [job.run for job in launch.jobs] != [job.run for job in jobs]:
        return {}
    for job in launch.jobs:
        if job.state == RUNNING:
            job.state, job.why = FAILED, _explain(_child.killed_by)
    return {number: job for number, job in enumerate(launch.jobs) if job.state in ENDED}
