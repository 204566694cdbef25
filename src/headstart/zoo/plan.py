"""How a network's step is timed, and on what machine."""

from dataclasses import dataclass

WARM_UP = 2  # steps: the first makes plans and buffers, the second finds them
PRECISIONS = {"32": "float32", "bf16": "bfloat16 by autocast", "16": "float16 by autocast"}


@dataclass(frozen=True)
class Plan:
    """Where, on how many images, at what precision, how often, and how many networks; without a device no time."""

    devices: tuple[str, ...]  # of cpu and cuda
    batch: int = 1
    precision: str = "32"
    repeats: int = 10
    networks: int = 0


@dataclass(frozen=True)
class Machine:
    """The processors' names, `gpu` empty where torch sees none; torch's threads; libraries and their versions."""

    cpu: str
    threads: int
    gpu: str
    versions: str
