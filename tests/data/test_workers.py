"""A loader's worker processes: what they send when memory is short, and that they keep no process from ending."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import jpegs, streamed
from headstart.data import workers
from headstart.data.loader import make_loader
from headstart.errors import RunFailed, UserError, as_user_error


def refuse_memory(tensor: torch.Tensor) -> None:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)")


def test_without_shared_memory_batches_go_through_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = streamed(jpegs(tmp_path, 8))
    plain = list(make_loader(pixels, 3, shuffle=False, seed=0, phase="fit"))
    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse_memory)  # the workers are forked from this process
    workers._warn_of_pipes.cache_clear()
    with caplog.at_level(logging.WARNING):
        piped = list(make_loader(pixels, 3, shuffle=False, seed=0, phase="fit", workers=2))
    assert len(piped) == len(plain) == 3
    for one, other in zip(plain, piped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert caplog.text.count("no room in the shared memory (/dev/shm)") == 1


def test_a_batch_is_shared_before_it_is_sent() -> None:
    batch = (torch.zeros(2, 3), torch.zeros(2), torch.zeros(2))
    packed = workers.pack(batch)
    assert all(isinstance(tensor, torch.Tensor) and tensor.is_shared() for tensor in packed)
    assert not any(isinstance(array, np.ndarray) for array in packed)


def test_an_error_of_a_worker_is_raised_as_it_is() -> None:
    with pytest.raises(UserError, match=r"^0 is damaged$"):
        workers.open_message(UserError("0 is damaged"), pin=False)


DYING = """
import multiprocessing, os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from data.images import files, streamed
from headstart.data.loader import make_loader
from headstart.errors import as_user_error

pixels = streamed(files(*sorted(Path({folder!r}).iterdir())))
batches = iter(make_loader(pixels, 2, shuffle=False, seed=0, phase="fit", workers=2))
next(batches)
if {kill}:
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    try:
        list(batches)
    except RuntimeError as error:
        print(as_user_error(error))
sys.exit(3)  # the iterator, and with it the workers, is still in use
"""


@pytest.mark.parametrize("kill", [True, False])
def test_workers_keep_no_process_from_ending(kill: bool, tmp_path: Path) -> None:
    jpegs(tmp_path, 40)
    code = DYING.format(path=sys.path, folder=str(tmp_path), kill=kill)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert ("a process that decodes images died (DataLoader worker (pid" in done.stdout) == kill


def test_the_death_of_a_worker_is_a_failed_run() -> None:
    error = RuntimeError(
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's ..."
    )
    known = as_user_error(error)
    assert isinstance(known, RunFailed)
    assert "(DataLoader worker (pid 7) is killed by signal: Bus error)" in str(known)
    assert "hardware.workers" in str(known)
