"""The hardware of a run: `auto` resolved, device and precision selected, and its description for `result.json`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config.words import count
from headstart.errors import UserError

if TYPE_CHECKING:
    import torch

    from headstart.config.schema import HardwareConfig


def resolve_hardware(config: HardwareConfig) -> HardwareConfig:
    """Replace every `auto` by a value for this machine; raises UserError for hardware that it does not have."""
    import torch

    gpus, cores = torch.cuda.device_count(), os.cpu_count() or 1
    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if gpus else "cpu"
    if accelerator == "gpu" and gpus < max(1, config.devices):
        raise UserError(
            f"hardware.accelerator=gpu with hardware.devices={config.devices}, but torch sees "
            f"{count(gpus, 'CUDA device')}: use hardware=auto or hardware=cpu"
        )
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if accelerator == "gpu" and torch.cuda.is_bf16_supported() else "32"
    devices = config.devices
    if devices == -1:
        devices = gpus if accelerator == "gpu" else cores
    if accelerator == "cpu" and devices > cores:
        raise UserError(
            f"hardware.devices={devices}: this machine has {count(cores, 'core')}; use at most one process per core"
        )
    if precision == "16" and accelerator == "cpu":
        raise UserError("hardware.precision=16 needs a GPU: use 32 or bf16 on a CPU")
    return replace(config, accelerator=accelerator, precision=precision, devices=devices)


def select_device(config: HardwareConfig) -> torch.device:
    """The device of a resolved config, prepared for use."""
    import torch

    if config.accelerator == "gpu":
        torch.backends.cudnn.benchmark = True  # sizes do not change in a phase: the search for algorithms pays off
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


@contextmanager
def use_threads(config: HardwareConfig) -> Iterator[None]:
    """Inside this context, torch uses `hardware.threads` threads; afterwards as many as before."""
    import torch

    before = torch.get_num_threads()
    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def autocast(config: HardwareConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The context of mixed precision for inference in `hardware.precision`; it does nothing for 32."""
    import torch

    if config.precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if config.precision == "bf16" else torch.float16)


def lightning_precision(config: HardwareConfig) -> str:
    """The name that Lightning gives to `hardware.precision`."""
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[config.precision]


def memory_format(config: HardwareConfig) -> torch.memory_format:
    """torch's object for `hardware.memory_format`."""
    import torch

    return torch.channels_last if config.memory_format == "channels_last" else torch.contiguous_format


def describe(config: HardwareConfig) -> dict[str, Any]:
    """Describe the hardware of the run, for `result.json`."""
    import torch

    on_gpu = config.accelerator == "gpu"
    return {
        "accelerator": config.accelerator,
        "device": torch.cuda.get_device_name() if on_gpu else processor_name(),
        "devices": config.devices,
        "nodes": config.nodes,
        "precision": config.precision,
        "memory_format": config.memory_format,
        "compile": config.compile,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def processor_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
