"""The worker processes of a loader: how they send batches and errors, and how they end.

A worker sends a batch through shared memory. torch would put it there in a thread of its own, where an error is printed
and the batch is lost, so that the main process waits for ever; a container often has 64 MB of shared memory. So `pack`
puts it there at once, and sends it through a pipe if there is no room.
"""

import atexit
import logging
import multiprocessing
import signal
from functools import cache
from typing import Any

import numpy as np
import torch

from headstart.errors import UserError
from headstart.runtime import signals

log = logging.getLogger(__name__)

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Message = Batch | tuple[np.ndarray, ...] | UserError


def pack(batch: Batch) -> Message:
    """In a worker: put a batch into shared memory, or make arrays of it, which go through a pipe."""
    try:
        for tensor in batch:
            tensor.share_memory_()
    except (RuntimeError, OSError):  # no room in /dev/shm
        return tuple(tensor.numpy() for tensor in batch)
    return batch


def leave(message: Any) -> Any:
    """Leave it as it is, where torch would make tensors of arrays."""
    return message


def open_message(message: Message, pin: bool) -> Batch:
    """In the main process: the batch that a worker sent; raises the error that it sent instead."""
    if isinstance(message, UserError):
        raise message
    if isinstance(message[0], torch.Tensor):
        return message
    _warn_of_pipes()
    images, labels, rows = map(torch.from_numpy, message)
    return (images.pin_memory(), labels.pin_memory(), rows) if pin else (images, labels, rows)


@cache  # one warning for each process
def _warn_of_pipes() -> None:
    log.warning(
        "hardware.workers: there is no room in the shared memory (/dev/shm) for a batch: batches go through pipes, "
        "which is slower. Make /dev/shm larger (docker run --shm-size=8g), or lower hardware.workers or data.batch_size"
    )


def prepare_worker(number: int) -> None:
    """Let a worker ignore Ctrl-C, which reaches every process of a terminal: the run still needs its batches."""
    for signum in signals.SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signals.end_with_parent(signal.SIGKILL)  # a killed run cannot end its workers


@cache  # registered once
def kill_workers_at_exit() -> None:
    """Kill the workers when this process exits: multiprocessing sends them SIGTERM, which they ignore, and waits.

    Its exit handler was registered before this one, when it was imported, and so runs after it.
    """
    atexit.register(_kill_workers)


def _kill_workers() -> None:
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report that they died
    for child in workers:
        child.kill()
