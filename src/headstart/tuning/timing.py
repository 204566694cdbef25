"""Measure how fast a network trains with each setting: a few real training steps of each setting in turn."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from headstart.config import instantiate
from headstart.models import factory
from headstart.runtime import hardware, memory

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig, ModelConfig

ROUNDS = 3  # rounds, at most; each setting has one turn in a round
STEPS = 2  # timed steps of a turn
ENOUGH = 60.0  # seconds after which no further round begins
HOPELESS = 1.3  # a setting whose step takes this many times the fastest one's is left out of the next rounds


@dataclass(frozen=True)
class Setting:
    """The settings to choose from: a memory format, a precision, and whether the network is compiled."""

    memory_format: str
    precision: str
    compile: bool = False

    def __str__(self) -> str:
        return f"{self.precision} {self.memory_format}{' compiled' if self.compile else ''}"

    def apply_to(self, config: HardwareConfig) -> HardwareConfig:
        """A copy of `config` with this setting."""
        return replace(config, memory_format=self.memory_format, precision=self.precision, compile=self.compile)


@dataclass
class Timing:
    """The measurement of one setting: the seconds of a step, or the error."""

    seconds: float | None = None
    starting: float = 0.0  # how many seconds longer the first step took, mainly because of compilation
    failed: str | None = None


@dataclass(frozen=True)
class TrialSetup:
    """The facts of a run that its timing depends on: the network, the hardware, the optimizer, the size of a step."""

    model: ModelConfig
    hardware: HardwareConfig
    optimizer: dict[str, Any]
    batch_size: int
    image_size: int
    classes: int

    @property
    def network(self) -> dict[str, Any]:
        """The facts that identify a study's pin."""
        return {
            "model": self.model.name,
            "args": self.model.args,
            "compile": self.hardware.compile,
            "allow_bf16": self.hardware.allow_bf16,
        }


@dataclass
class Trial:
    """Trains a run's network for a few steps on random images, with the run's sizes, optimizer and classes."""

    setup: TrialSetup
    model: Any = field(init=False)
    images: torch.Tensor = field(init=False)
    labels: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        setup = self.setup
        device, batch, side = hardware.select_device(setup.hardware), setup.batch_size, setup.image_size
        names = tuple(str(number) for number in range(setup.classes))
        self.model = factory.create(setup.model, names, pretrained=False)[0].to(device).train()
        self.images = torch.randn(batch, 3, side, side, device=device)
        self.labels = torch.randint(setup.classes, (batch,), device=device)

    def time(self, settings: Iterable[Setting], rounds: int = ROUNDS) -> dict[Setting, Timing]:
        """Measure the median step of each setting, in turns, so that other load on the machine affects all settings.

        A setting that raises an error, or whose loss is not finite, gets the reason instead.
        """
        found = {setting: Timing() for setting in settings}
        steps: dict[Setting, list[float]] = {setting: [] for setting in found}
        racing, began = list(found), time.monotonic()
        for number in range(rounds):
            for setting in racing:
                try:
                    first, *rest = self._run_turn(setting)
                except Exception as error:  # raised by a backend for a setting that it does not support
                    reason = str(error).strip().partition("\n")[0][:200]
                    found[setting] = Timing(failed=f"{type(error).__name__}: {reason}")
                    steps[setting].clear()
                    self.model.zero_grad(set_to_none=True)
                    continue
                steps[setting] += rest
                if number == 0:
                    found[setting].starting = max(0.0, first - median(rest))
            medians = {setting: median(each) for setting, each in steps.items() if each}
            fastest = min(medians.values(), default=0.0)
            racing = [each for each in racing if each in medians and medians[each] <= HOPELESS * fastest]
            if time.monotonic() - began > ENOUGH or len(racing) < min(2, len(found)):
                break
        for setting, seconds in medians.items():
            found[setting].seconds = seconds
        return found

    def _run_turn(self, setting: Setting) -> list[float]:
        """Measure the seconds of each step of one turn; `time` does not count the first one."""
        device, config = self.images.device, setting.apply_to(self.setup.hardware)
        layout = hardware.memory_format(config)
        model, images = self.model.to(memory_format=layout), self.images.contiguous(memory_format=layout)
        network = torch.compile(model) if setting.compile else model
        optimizer = instantiate.build("optimizer", self.setup.optimizer, list(model.parameters()))
        scaler = torch.amp.GradScaler(device.type, enabled=setting.precision == "16")
        heads = [part for part in model.modules() if hasattr(part, "auxiliary_loss")]

        def step() -> torch.Tensor:
            with hardware.autocast(config, device):
                logits = network(images)
            loss = functional.cross_entropy(logits.float(), self.labels)
            for part in heads:
                loss = loss + part.auxiliary_loss(functional.cross_entropy, self.labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            return loss.detach()

        return _time_steps(step, device)


def _time_steps(step: Callable[[], torch.Tensor], device: torch.device) -> list[float]:
    """Measure the seconds of `1 + STEPS` steps; raises ArithmeticError if the loss is not finite."""
    taken = []
    for _ in range(1 + STEPS):
        began = time.perf_counter()
        loss = float(step())  # waits for the GPU, but not for its last kernels
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
        if not loss - loss == 0:
            raise ArithmeticError(f"the loss of a step is {loss}")
    return taken


@contextmanager
def isolate(config: HardwareConfig) -> Iterator[None]:
    """Inside this context, threads and memory are set as in a run of this config; afterwards the old state is restored.

    The state of random generators and of the compiler is restored too. With several processes, a process has its share
    of the threads, as torchrun's ranks have.
    """
    if config.devices > 1 and config.accelerator == "cpu" and not config.threads:
        config = replace(config, threads=max(1, (os.cpu_count() or 1) // config.devices))
    devices = [torch.cuda.current_device()] if config.accelerator == "gpu" else []
    try:
        with hardware.use_threads(config), torch.random.fork_rng(devices), memory.keep_freed_memory(config):
            yield
    finally:
        if "torch._dynamo" in sys.modules:  # else there is nothing to reset, and importing it takes seconds
            torch.compiler.reset()
        if config.accelerator == "gpu":
            torch.cuda.empty_cache()
