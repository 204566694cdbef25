"""What each depth of a network sees in an image: the maps of its strongest channels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import torch
from PIL import Image
from torch import Tensor

from headstart.config.paths import make_path
from headstart.data.filenames import escape_name
from headstart.errors import UserError
from headstart.storage.files import write_whole
from headstart.visualize.forward import run_to
from headstart.visualize.layers import Layer, choose_layers, find_layers
from headstart.visualize.naming import name_picture
from headstart.visualize.pool import to_pixels
from headstart.visualize.sheet import Cell, draw_sheet

if TYPE_CHECKING:
    from headstart.predict.network import Network

SIDE = 132  # of a map in the sheet, in pixels


@dataclass(frozen=True)
class Maps:
    """A layer's strongest maps of one image.

    Attributes:
        channels: their numbers, the strongest first.
        values: [k, h, w].
        strengths: the root mean square of each over its positions.
    """

    layer: Layer
    channels: list[int]
    values: Tensor
    strengths: list[float]


@torch.no_grad()
def find_strongest(network: Network, image: Tensor, layers: Sequence[Layer], most: int) -> list[Maps]:
    """Find the maps that are strongest in a normalised image [3, s, s], for each layer."""
    found = run_to(
        network.network, image[None].to(network.device), {layer.name: lambda maps: maps[0].clone() for layer in layers}
    )
    strongest = []
    for layer in layers:
        maps = found[layer.name].float().cpu()
        strengths, channels = maps.square().mean((1, 2)).sqrt().topk(min(most, len(maps)))
        strongest.append(Maps(layer, channels.tolist(), maps[channels], strengths.tolist()))
    return strongest


def make_sheets(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make a sheet of each image; returns the files."""
    if options.channels < 1:
        raise UserError(f"--channels {options.channels}: must be at least 1")
    images = [make_path(name) for name in options.images]
    inputs = network.normalize(network.decode(images))
    found = find_layers(network, network.image_size)
    chosen = []  # what sets this call apart from that of all depths
    if options.layers is None:
        layers = sorted((each for each in found.values() if each.stage is not None), key=lambda each: each.stage or 0)
        if not layers:
            raise UserError(f"{network.name}: has no layers with maps")
    else:
        layers = list(dict.fromkeys(choose_layers(found, options.layers)))
        chosen = [layer.name for layer in layers]
    files: list[Path] = []
    for path, image in zip(images, inputs, strict=True):
        maps = find_strongest(network, image, layers, options.channels)
        for each in maps:
            strongest = ", ".join(map(str, each.channels))
            print(f"{escape_name(path.name)}  {_name(each.layer)}: strongest channels {strongest}")
        files.append(_name_file(folder, [path.stem, *chosen], files))
        with write_whole(files[-1]) as part:
            _draw(network, escape_name(path.name), image, maps).save(part, "PNG")
    return files


def _name_file(folder: Path, words: Sequence[str], taken: Sequence[Path]) -> Path:
    """The file for an image; images of several folders may have the same name."""
    path, number = name_picture(folder, "activations", *words), 1
    while path in taken:
        number += 1
        path = name_picture(folder, "activations", *words, str(number))
    return path


def _name(layer: Layer) -> str:
    return layer.name if layer.stage is None else f"depth {layer.stage}: {layer.name}"


def _draw(network: Network, name: str, image: Tensor, maps: Sequence[Maps]) -> Image.Image:
    seen = Image.fromarray(to_pixels(network, image[None])[0].permute(1, 2, 0).numpy())
    rows: list[tuple[str, list[Cell]]] = [("the image, as the network sees it", [Cell(seen, ("",))])]
    for each in maps:
        height, width = each.values.shape[1:]
        # one scale for a row, so that its maps can be compared
        scale = float(each.values.abs().max().clamp(min=1e-30))
        signed = bool((each.values < -0.05 * scale).any())
        cells = [
            Cell(_colour(values, scale, signed=signed), (f"channel {channel}: {strength:.3g}",))
            for channel, values, strength in zip(each.channels, each.values, each.strengths, strict=True)
        ]
        rows.append((f"{_name(each.layer)}   {height} × {width}", cells))
    note = "the strongest channels of each depth, by root mean square, on one scale in each row; blue is negative"
    return draw_sheet(f"{network.name}: what it sees in {name}", note, rows, side=SIDE)


def _colour(values: Tensor, scale: float, *, signed: bool) -> Image.Image:
    """Colour a map: black to bright from 0 to the scale, or blue over white to red with both signs."""
    share = (values / scale + 1) / 2 if signed else (values / scale).clamp(min=0)
    colours = matplotlib.colormaps["RdBu_r" if signed else "inferno"](share.numpy(), bytes=True)
    return Image.fromarray(colours[..., :3].copy()).resize((SIDE, SIDE), Image.Resampling.NEAREST)
