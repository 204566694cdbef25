"""What hardware the machine has, as far as this can be known without torch."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from headstart.config.schema import HardwareConfig
from headstart.config.words import count

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32", "bf16", "16")
MEMORY_FORMATS = ("channels_last", "contiguous")


def missing_hardware(config: HardwareConfig) -> Iterator[str]:
    """The settings that this machine's hardware cannot fulfil, as far as this can be known without torch."""
    gpus, cores = count_gpus_at_most(), os.cpu_count() or 1
    accelerator, devices = config.accelerator, config.devices
    if accelerator == "gpu" and gpus == 0:
        yield "hardware.accelerator=gpu: this machine has no GPU; use hardware=auto or hardware=cpu"
    elif accelerator != "cpu" and gpus != 0:
        limit = None if gpus is None else gpus if accelerator == "gpu" else max(gpus, cores)
        if limit is not None and devices > limit:
            has = f"{count(gpus or 0, 'GPU')} and {count(cores, 'core')}"
            yield f"hardware.devices={devices}: this machine has {has}; -1 is all of them"
    elif devices > cores:
        yield f"hardware.devices={devices}: must be at most {cores}, one per core of this machine; -1 is {cores}"
    if config.precision == "16" and (accelerator == "cpu" or gpus == 0):
        yield "hardware.precision=16: needs a GPU; use 32 or bf16 on a CPU"


def count_gpus_at_most() -> int | None:
    """Count the GPUs that torch could see at most; None where their device files do not show it."""
    if sys.platform != "linux" or any(Path(f"/dev/{name}").exists() for name in ("kfd", "dxg", "nvmap")):
        return None  # AMD, Windows Subsystem for Linux, Jetson: other device files, or another system
    return sum(1 for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit())
