"""Several launches of one study share its jobs: what another process runs is put aside, and looked at again later."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from headstart.storage import locks
from headstart.storage.locks import HeldElsewhere

log = logging.getLogger(__name__)
Job = TypeVar("Job")
Value = TypeVar("Value")


def take_turns(jobs: Iterable[Job], held: list[HeldElsewhere]) -> Iterator[Job]:
    """Yield every job; those whose run another process holds come again at the end, when that process has finished.

    Args:
        held: whoever runs a job puts the refusal here, if the run is held.
    """
    aside: deque[tuple[Job, HeldElsewhere]] = deque()
    for job in jobs:
        yield job
        if held:
            aside.append((job, held.pop()))
            log.info(
                "%s: %s runs it; this launch goes on with the others", aside[-1][1].path.parent, aside[-1][1].owner
            )
    while aside:
        job, refusal = aside.popleft()
        wait(refusal)
        yield job
        if held:
            aside.append((job, held.pop()))


def run_after_others(run: Callable[[], Value]) -> Value:
    """Call `run` again, whenever it finds its folder held by another process, as soon as that has finished."""
    while True:
        try:
            return run()
        except HeldElsewhere as refusal:
            wait(refusal)


def wait(refusal: HeldElsewhere) -> None:
    """Wait until no other process holds the folder, however its work there ends."""
    try:
        with locks.hold(refusal.path):
            return
    except HeldElsewhere as still:
        log.info("%s: waiting for %s, which runs it", still.path.parent, still.owner)
    with locks.hold(refusal.path, wait=True):
        pass
