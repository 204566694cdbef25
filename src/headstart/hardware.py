"""The machine that a run computes on: ``auto`` settled, precision chosen, and what of it stands in `result.json`."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError

if TYPE_CHECKING:
    import torch

    from headstart.config import HardwareConfig

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32", "bf16", "16")
MEMORY_FORMATS = ("channels_last", "contiguous")


def settle(config: "HardwareConfig") -> "HardwareConfig":
    """Replace every ``auto`` by what this machine has; raises UserError for what it has not."""
    import torch

    gpus = torch.cuda.device_count()
    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if gpus else "cpu"
    if accelerator == "gpu" and gpus < config.devices:
        raise UserError(
            f"hardware.accelerator=gpu with hardware.devices={config.devices}, but torch sees {gpus} CUDA devices: "
            "use hardware=auto or hardware=cpu"
        )
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if accelerator == "gpu" and torch.cuda.is_bf16_supported() else "32"
    if precision == "16" and accelerator == "cpu":
        raise UserError("hardware.precision=16 needs a GPU: use 32 or bf16 on a CPU")
    return replace(config, accelerator=accelerator, precision=precision)


def apply(config: "HardwareConfig") -> "torch.device":
    """Set the thread count and return the device of a settled config."""
    import torch

    if config.threads:
        torch.set_num_threads(config.threads)
    if config.accelerator == "gpu":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def autocast(config: "HardwareConfig", device: "torch.device") -> AbstractContextManager[Any]:
    """Mixed precision for inference as ``hardware.precision`` says; a no-op for 32."""
    import torch

    if config.precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if config.precision == "bf16" else torch.float16)


def lightning_precision(config: "HardwareConfig") -> str:
    """The name that Lightning gives to ``hardware.precision``."""
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[config.precision]


def memory_format(config: "HardwareConfig") -> "torch.memory_format":
    """``hardware.memory_format`` as torch names it."""
    import torch

    return torch.channels_last if config.memory_format == "channels_last" else torch.contiguous_format


def facts(config: "HardwareConfig") -> dict[str, Any]:
    """What the run computed on, for `result.json`."""
    import torch

    on_gpu = config.accelerator == "gpu"
    return {
        "accelerator": config.accelerator,
        "device": torch.cuda.get_device_name() if on_gpu else _processor(),
        "devices": config.devices,
        "precision": config.precision,
        "memory_format": config.memory_format,
        "compile": config.compile,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
