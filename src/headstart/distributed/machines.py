"""The machines of a run on several (`hardware.nodes`): a launcher says which they are, and the first one leads.

On each machine an agent of torchrun starts that machine's ranks. On the first one, the main process begins the run and
writes down where the agents meet: there, under its name. On the others, `follow` waits for that.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import RunFailed, UserError
from headstart.storage import heartbeat

PATIENCE = 40  # seconds in which all agents have to come; with their start, a missing one is noticed within a minute
SILENT = 180.0  # seconds without a sign of life of the first machine; a network's disk may show it late
FIRST, OVER, HERE = "first", "over", "here"


@dataclass(frozen=True)
class Machines:
    """The machines of one job, as its launcher knows them.

    Attributes:
        names: by which they reach each other, the first one's first.
        folder: for this job alone; all machines see it.
        cores: of each machine, for this job.
    """

    names: Sequence[str]
    folder: Path
    cores: int


_assigned: list[Machines] = []


@contextmanager
def lead(machines: Machines) -> Iterator[None]:
    """Inside this context, runs of this process may use these machines; the others are told when it ends."""
    machines.folder.mkdir(parents=True, exist_ok=True)
    (machines.folder / FIRST).touch()
    _assigned.append(machines)
    try:
        with heartbeat.beat(machines.folder / FIRST):
            yield
    finally:
        _assigned.pop()
        (machines.folder / OVER).touch()


def find_assigned(nodes: int) -> Machines | None:
    """The machines that a launcher gave this process; None if it gave none.

    Raises:
        UserError: a run asks for more.
    """
    found = _assigned[-1] if _assigned else None
    if nodes > (1 if found is None else len(found.names)):
        raise UserError(f"hardware.nodes={nodes}: this job has one machine; -m hydra/launcher=slurm asks for several")
    return found


def choose_meeting(machines: Machines | None, nodes: int) -> dict[str, Any]:
    """Choose where the agents of a run meet; in a run on one machine, there."""
    if machines is None or nodes == 1:
        return {"names": ["localhost"], "port": 0}
    with socket.socket() as free:
        free.bind(("", 0))
        return {"names": list(machines.names[:nodes]), "port": free.getsockname()[1]}


def wait_for_first(machines: Machines, number: int, file: str) -> bool:
    """Wait for a file of the first machine's; False if that has ended without one.

    Args:
        number: of this machine.

    Raises:
        RunFailed: the first machine shows no sign of life.
    """
    folder, began = machines.folder, time.time()
    while True:
        # listing a folder asks the file system's server; whether a file exists may be answered from an old memory
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names alone
        if file in names:
            (folder / f"{HERE}-{number}").touch()
            return True
        if OVER in names:
            return False
        last = (folder / FIRST).stat().st_mtime if FIRST in names else began
        if time.time() - max(last, began) > SILENT:
            raise RunFailed(f"{machines.names[0]}, the first machine, has shown no sign of life for {SILENT:g} s")
        time.sleep(0.2)


def explain_missing(folder: Path, names: Sequence[str], why: str) -> RunFailed:
    """Say which machines did not come to the meeting, or what else kept them apart."""
    came = {0, *(int(path.name.rpartition("-")[2]) for path in folder.glob(f"{HERE}-*"))}
    missing = [f"{name} (machine {number + 1})" for number, name in enumerate(names) if number not in came]
    if missing:
        return RunFailed(
            f"{' and '.join(missing)} of {len(names)} did not come to {names[0]} within {PATIENCE} s, so the run did "
            "not begin: its own log says why"
        )
    return RunFailed(f"the {len(names)} machines did not meet at {names[0]} within {PATIENCE} s: {why}")
