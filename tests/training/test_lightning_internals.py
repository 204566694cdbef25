"""What Lightning does unasked stays out: its signal handlers, and its advice on a machine with Slurm."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from headstart.training.lightning_internals import leave_signals_alone


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.layer(batch[0]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def on_signal(signum: int, frame: Any) -> None:
    raise AssertionError("no signal is sent here")


def on_child(signum: int, frame: Any) -> None: ...


class Handlers(pl.Callback):
    """The handlers in the middle of training, where a new one of SIGCHLD is set, as torch's loaders do."""

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.found = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
        signal.signal(signal.SIGCHLD, on_child)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD)
    before = {signum: signal.getsignal(signum) for signum in signals}
    for signum in signals[:-1]:
        signal.signal(signum, on_signal)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def fit(left_alone: bool) -> Handlers:
    found = Handlers()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[found],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if left_alone:
        leave_signals_alone(trainer)
    trainer.fit(Module(), DataLoader(TensorDataset(torch.ones(4, 2))))
    return found


def test_the_handlers_from_before_a_fit_are_there_during_it() -> None:
    assert set(fit(True).found.values()) == {on_signal}
    assert signal.getsignal(signal.SIGCHLD) is on_child


def test_lightning_itself_would_replace_them() -> None:
    """Should this fail, Lightning has changed, and `lightning_internals` may no longer be needed."""
    assert fit(False).found[signal.SIGTERM] is not on_signal
    assert signal.getsignal(signal.SIGCHLD) is not on_child


def test_a_version_that_works_in_another_way_is_an_error() -> None:
    with pytest.raises(AttributeError, match="another way"):
        leave_signals_alone(SimpleNamespace(_signal_connector=object()))  # type: ignore[arg-type]


def test_a_machine_with_slurm_gives_no_advice_to_begin_with_srun(
    run_small: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    command = tmp_path / "bin" / "srun"
    command.parent.mkdir()
    command.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    run_small("model=lenet5", "strategy=scratch", "epochs=1")
    assert [str(found.message) for found in recwarn if "srun" in str(found.message)] == []
