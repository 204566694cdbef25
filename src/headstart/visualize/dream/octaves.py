"""Amplify what a layer sees in an image, from a small copy of it to its full size, octave by octave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from headstart.runtime.seeds import derive_seed
from headstart.tracking import progress
from headstart.visualize.dream.state import Dream, read_state, write_state
from headstart.visualize.dream.tiles import compute_gradient

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
    window: int = 512
    animate: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Target:
    """What is amplified: the activity of layers of a network, and how far these layers see.

    Attributes:
        activity: by the name of a layer, of its map [1, c, h, w] to the activity of each position [1, h, w].
    """

    network: Network
    activity: dict[str, Callable[[Tensor], Tensor]]
    reach: Reach


def dream(target: Target, image: Image.Image, settings: Settings, state: Path) -> tuple[np.ndarray, Dream]:
    """Amplify the layers' activity; returns uint8 [h, w, 3] and the record of the way.

    Args:
        state: a file in which each finished octave but the last is kept: a later call with the same name goes on there.
    """
    sizes, way = list_sizes(image.size, settings), read_state(state)
    if way.done:
        log.info("  goes on after octave %d of %d", way.done, len(sizes))
    total = sum(width * height for width, height in sizes[way.done :]) * settings.steps
    with progress.task("dream", total // 1000, "thousand pixels") as work:
        for octave in range(way.done, len(sizes)):
            current = _begin(image, sizes[octave], way)
            _climb(target, current, settings, octave, way, sizes[-1], work)
            width, height = sizes[octave]
            what = f"octave {octave + 1} of {len(sizes)}, {width} × {height} px"
            first, last = way.norms[-1]  # before the first step and before the last: of one step nothing is known
            log.info("  %s%s", what, f": the norm rose from {first:.4g} to {last:.4g}" * (settings.steps > 1))
            if octave + 1 < len(sizes):
                way.done, way.detail = octave + 1, current.sub_(_shrink(image, sizes[octave]))
                write_state(state, way)
    pixels = current.mul_(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels), way


def list_sizes(size: tuple[int, int], settings: Settings) -> list[tuple[int, int]]:
    """The width and height of each octave, the smallest first; one that would be too small is left out."""
    factors = [settings.scale**-at for at in reversed(range(settings.octaves))]
    sizes = [(max(1, round(size[0] * factor)), max(1, round(size[1] * factor))) for factor in factors]
    return [each for each in sizes[:-1] if min(each) >= SMALLEST] + sizes[-1:]


def _shrink(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """The image [3, h, w] of an octave, before anything is added to it."""
    pixels = torch.from_numpy(np.array(image.resize(size, Image.Resampling.LANCZOS)))
    return torch.empty(3, *pixels.shape[:2]).copy_(pixels.permute(2, 0, 1)).div_(255)


def _begin(image: Image.Image, size: tuple[int, int], way: Dream) -> Tensor:
    """The image of an octave, with what the octave before has added, enlarged; the way forgets it."""
    base, detail = _shrink(image, size), way.detail
    if detail is None:
        return base
    way.detail = None
    larger = functional.interpolate(detail[None], base.shape[1:], mode="bilinear", align_corners=False)[0]
    return base.add_(larger).clamp_(0, 1)


def _climb(
    target: Target,
    current: Tensor,
    settings: Settings,
    octave: int,
    way: Dream,
    size: tuple[int, int],
    work: progress.Task,
) -> None:
    """Do the steps of an octave, in place; the way gets its norms and frames of an image of this final size."""
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "dream", octave))
    norms, pixels, before = [], 0, work.done

    def count(more: int) -> None:
        nonlocal pixels
        pixels += more
        work.done = before + pixels // 1000

    for _ in range(settings.steps):
        # another grid in each step, so that the network's strides leave no pattern
        top, left = torch.randint(target.reach.stride, (2,), generator=generator).tolist()
        found = compute_gradient(
            target.network,
            current,
            target.activity,
            target.reach,
            offset=(top, left),
            window=settings.window,
            count=count,
        )
        norms.append(found.norm)
        current.add_(found.values, alpha=settings.rate / 255 / max(found.mean, 1e-30)).clamp_(0, 1)
        if settings.animate:
            way.frames.append(_make_frame(current, _frame_size(size)))
    way.norms.append((norms[0], norms[-1]))


def _frame_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(1.0, FRAME / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _make_frame(current: Tensor, size: tuple[int, int]) -> np.ndarray:
    small = functional.interpolate(current[None], size[::-1], mode="bilinear", antialias=True)[0]
    return small.mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
