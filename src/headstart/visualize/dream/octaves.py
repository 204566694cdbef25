"""Amplify what a layer sees in an image, from a small copy of it to its full size, octave by octave."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from headstart.runtime.seeds import derive_seed
from headstart.storage.files import write_whole
from headstart.tracking import progress
from headstart.visualize.dream.tiles import Gradient, compute_gradient

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.visualize.dream.reach import Reach

log = logging.getLogger(__name__)

SMALLEST = 48  # pixels of the shorter side of the first octave
FRAME = 512  # pixels of the longer side of an animation's frames


@dataclass(frozen=True)
class Settings:
    """How an image is amplified.

    Attributes:
        octaves, scale: how many sizes, and the ratio of two successive ones.
        steps: of each octave.
        rate: how far a step moves a pixel on average, in levels of 256.
        window: the largest side of what the network sees at once, in pixels.
        animate: whether to keep the frames of the way.
        seed: of the offsets.
    """

    octaves: int = 4
    scale: float = 1.4
    steps: int = 10
    rate: float = 1.5
    window: int = 768
    animate: bool = False
    seed: int = 0


@dataclass
class Dream:
    """Where the work is: the octaves that are done, what they have added [3, h, w], and the frames so far.

    Attributes:
        norms: the norm of the layers' maps before the first and before the last step of each octave.
    """

    done: int = 0
    detail: Tensor | None = None
    frames: list[np.ndarray] = field(default_factory=list)
    norms: list[tuple[float, float]] = field(default_factory=list)


def dream(
    network: Network,
    image: Image.Image,
    activity: dict[str, Callable[[Tensor], Tensor]],
    reach: Reach,
    settings: Settings,
    state: Path,
) -> tuple[np.ndarray, Dream]:
    """Amplify the layers' activity; returns uint8 [h, w, 3] and the record of the way.

    Args:
        state: a file in which each finished octave but the last is kept: a later call with the same name goes on there.
    """
    sizes = list_sizes(image.size, settings)
    way = read_state(state)
    if way.done:
        log.info("  goes on after octave %d of %d", way.done, len(sizes))
    total = sum(width * height for width, height in sizes[way.done :]) * settings.steps
    with progress.task("dream", total // 1000, "thousand pixels") as work:
        for octave in range(way.done, len(sizes)):
            base = _to_tensor(image.resize(sizes[octave], Image.Resampling.LANCZOS))
            current = base.clone() if way.detail is None else _add_detail(base, way.detail)
            way.detail = None
            frame = _frame_size(sizes[-1]) if settings.animate else None
            way.norms.append(_climb(network, current, activity, reach, settings, octave, way.frames, frame, work))
            width, height = sizes[octave]
            first, last = way.norms[-1]
            log.info(
                "  octave %d of %d, %d × %d px: the norm rose from %.4g to %.4g",
                octave + 1, len(sizes), width, height, first, last,
            )  # fmt: skip
            if octave + 1 < len(sizes):
                way.done, way.detail = octave + 1, current.sub_(base)
                write_state(state, way)
    pixels = current.mul_(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels), way


def list_sizes(size: tuple[int, int], settings: Settings) -> list[tuple[int, int]]:
    """The width and height of each octave, the smallest first; one that would be too small is left out."""
    factors = [settings.scale**-at for at in reversed(range(settings.octaves))]
    sizes = [(max(1, round(size[0] * factor)), max(1, round(size[1] * factor))) for factor in factors]
    return [each for each in sizes[:-1] if min(each) >= SMALLEST] + sizes[-1:]


def _to_tensor(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _add_detail(base: Tensor, detail: Tensor) -> Tensor:
    """Enlarge what the octave before has added, and add it to the image of this octave."""
    larger = functional.interpolate(detail[None], base.shape[1:], mode="bilinear", align_corners=False)[0]
    return larger.add_(base).clamp_(0, 1)


def _climb(
    network: Network,
    current: Tensor,
    activity: dict[str, Callable[[Tensor], Tensor]],
    reach: Reach,
    settings: Settings,
    octave: int,
    frames: list[np.ndarray],
    frame: tuple[int, int] | None,
    work: progress.Task,
) -> tuple[float, float]:
    """Do the steps of an octave, in place; returns the norm of the maps before the first and before the last step."""
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "dream", octave))
    norms, pixels, before = [], 0, work.done

    def count(more: int) -> None:
        nonlocal pixels
        pixels += more
        work.done = before + pixels // 1000

    for _ in range(settings.steps):
        # another grid in each step, so that the network's strides leave no pattern
        top, left = torch.randint(reach.stride, (2,), generator=generator).tolist()
        found: Gradient = compute_gradient(
            network, current, activity, reach, offset=(top, left), window=settings.window, count=count
        )
        norms.append(found.norm)
        current.add_(found.values, alpha=settings.rate / 255 / max(found.mean, 1e-30)).clamp_(0, 1)
        if frame is not None:
            frames.append(_make_frame(current, frame))
    return norms[0], norms[-1]


def _frame_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, FRAME / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _make_frame(current: Tensor, size: tuple[int, int]) -> np.ndarray:
    small = functional.interpolate(current[None], size[::-1], mode="bilinear", antialias=True)[0]
    return small.mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def name_state(network: Network, image: Image.Image, folder: Path, **settings: object) -> Path:
    """The file for the state of this work: its name is a digest of everything that the result depends on."""
    digest = hashlib.blake2b(digest_size=8)
    for parameter in network.module.state_dict().values():
        digest.update(parameter.cpu().reshape(-1).view(torch.uint8).numpy())
    digest.update(repr(image.size).encode() + image.tobytes())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return folder / f".dream-{digest.hexdigest()}.safetensors"


def write_state(path: Path, way: Dream) -> None:
    """Write the state, completely or not at all."""
    assert way.detail is not None
    tensors = {"detail": way.detail, "norms": torch.tensor(way.norms, dtype=torch.float64)}
    if way.frames:
        tensors["frames"] = torch.from_numpy(np.stack(way.frames)).contiguous()
    with write_whole(path) as part:
        save_file(tensors, part, {"done": str(way.done)})


def read_state(path: Path) -> Dream:
    """Read the state; one that is missing or damaged is an empty one."""
    if not path.is_file():
        return Dream()
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            frames = list(file.get_tensor("frames").numpy()) if "frames" in names else []
            norms = [(first, last) for first, last in file.get_tensor("norms").tolist()]
            return Dream(int(file.metadata()["done"]), file.get_tensor("detail"), frames, norms)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        log.warning("%s cannot be read (%s): from the beginning", path, error)
        return Dream()
