"""How a network's inference step is timed, and the machine."""

from dataclasses import dataclass

WARM_UP = 2  # steps that are not timed: the first one creates plans and buffers
PRECISIONS = {"32": "float32", "bf16": "bfloat16 by autocast", "16": "float16 by autocast"}


@dataclass(frozen=True)
class Plan:
    """Devices, images per step, precision, number of timed steps and of networks; without a device nothing is timed."""

    devices: tuple[str, ...]  # of cpu and cuda
    batch: int = 1
    precision: str = "32"
    repeats: int = 10
    networks: int = 0


@dataclass(frozen=True)
class Machine:
    """The names of the processors (`gpu` is empty without a GPU), torch's threads, and the versions of libraries."""

    cpu: str
    threads: int
    gpu: str
    versions: str
