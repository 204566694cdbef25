"""`headstart visualize … dream` from its arguments to its files."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from headstart.config.paths import make_path
from headstart.data.decode import describe_fault
from headstart.data.rgb import to_rgb
from headstart.errors import UserError
from headstart.storage.files import write_whole
from headstart.visualize.dream.objectives import LECTURE, LECTURE_GUIDED, make_activity
from headstart.visualize.dream.octaves import Settings, Target, dream
from headstart.visualize.dream.reach import measure_reach
from headstart.visualize.dream.state import name_state
from headstart.visualize.forward import without_weight_gradients
from headstart.visualize.layers import choose_layers, find_layers
from headstart.visualize.naming import name_picture

if TYPE_CHECKING:
    from headstart.predict.network import Network

log = logging.getLogger(__name__)

SIZE = re.compile(r"(\d+)[x×](\d+)")
MOST_OCTAVES = 64
FRAME_TIME, LAST_TIME = 80, 2000  # milliseconds that a frame of the animation stays, and the last one


def make_dream(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the dream that the command asks for; returns its files."""
    _check(options)
    if options.image is not None:
        image, stem = open_image(options.image), Path(options.image).stem
    else:
        image, stem = _make_noise(options.noise, options.seed), "noise"
    guide = open_image(options.guide) if options.guide else None
    layers = _choose_layers(network, options.layers, guided=guide is not None)
    reach = measure_reach(network, layers)
    settings = Settings(
        octaves=options.octaves,
        scale=options.octave_scale,
        steps=options.steps,
        rate=options.rate,
        window=options.window,
        animate=options.animate,
        seed=options.seed,
    )
    log.info("  amplified: %s; one position sees %d px to each side", ", ".join(layers), reach.pixels)
    if not reach.local and max(image.size) > settings.window:
        log.warning(
            "%s has operations over the whole image, so that what tiles of it give is approximate", network.name
        )
    state = name_state(
        network, image, folder, settings=settings, layers=layers, guide=guide and (guide.size, guide.tobytes())
    )
    with without_weight_gradients(network):
        target = Target(network, make_activity(network, layers, guide), reach)
        pixels, way = dream(target, image, settings, state)
    apart = [*(layers if options.layers else []), *(["as", Path(options.guide).stem] if options.guide else [])]
    files = [name_picture(folder, "dream", stem, *apart)]
    with write_whole(files[0]) as part:
        Image.fromarray(pixels).save(part, "PNG")
    if way.frames:
        files.append(files[0].with_name(f"{files[0].stem}.webp"))
        _write_animation(files[1], way.frames)
    state.unlink(missing_ok=True)
    return files


def _check(options: argparse.Namespace) -> None:
    if (options.image is None) == (options.noise is None):
        raise UserError("dream: give an image, or --noise WIDTHxHEIGHT, and not both")
    for name, value, least in (
        ("octaves", options.octaves, 1),
        ("octave-scale", options.octave_scale, 1.05),
        ("steps", options.steps, 1),
        ("window", options.window, 64),
    ):
        if not value >= least:
            raise UserError(f"--{name} {value}: must be at least {least}")
    if options.octaves > MOST_OCTAVES:
        raise UserError(f"--octaves {options.octaves}: must be at most {MOST_OCTAVES}")
    if not 0 < options.rate <= 255:
        raise UserError(f"--rate {options.rate}: must be above 0 and at most 255")


def open_image(path: str) -> Image.Image:
    """Open an image in RGB, upright, at its own size.

    Raises:
        UserError: it cannot be read.
    """
    if make_path(path).is_dir():
        raise UserError(f"{path}: is a folder; a dream is of one image: name a file in it")
    try:
        with Image.open(make_path(path)) as file:
            return to_rgb(file).convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image ({describe_fault(error)})") from error


def _make_noise(size: str, seed: int) -> Image.Image:
    found = SIZE.fullmatch(size)
    if found is None or not all(8 <= int(side) <= 16384 for side in found.groups()):
        raise UserError(f"--noise {size}: must be WIDTHxHEIGHT in pixels, such as 512x384, each 8 to 16384")
    width, height = map(int, found.groups())
    generator = np.random.default_rng(seed)
    rows = [generator.normal(118, 20, (width, 3)).clip(0, 255).astype(np.uint8) for _ in range(height)]
    return Image.fromarray(np.stack(rows))


def _choose_layers(network: Network, wanted: Sequence[str] | None, *, guided: bool) -> list[str]:
    found = find_layers(network, network.image_size)
    if wanted is None:
        for name in LECTURE_GUIDED if guided else LECTURE:
            if name in found:
                return [name]
        depths = [layer for layer in found.values() if layer.stage is not None]
        if not depths:
            raise UserError(f"{network.name}: has no layers that could be amplified")
        chosen = sorted(depths, key=lambda layer: layer.stage or 0)
        return [chosen[len(chosen) // 2 - (guided and len(chosen) > 2)].name]
    return list(dict.fromkeys(layer.name for layer in choose_layers(found, wanted)))


def _write_animation(path: Path, frames: Sequence[np.ndarray]) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    times = [FRAME_TIME] * (len(pictures) - 1) + [LAST_TIME]
    with write_whole(path) as part:
        pictures[0].save(
            part, "WEBP", save_all=True, append_images=pictures[1:], duration=times, loop=0, quality=80, method=4
        )
