"""What a grid of pictures shows: a row for each layer, with the units of it that are excited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import relu

from headstart.errors import UserError
from headstart.visualize.features.objectives import (
    Objective,
    excite_channels,
    excite_direction,
    excite_layer,
    excite_neurons,
)
from headstart.visualize.forward import lift_ceiling
from headstart.visualize.naming import find_class

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.visualize.layers import Layer

UNITS = 6  # of each layer by default


@dataclass(frozen=True)
class Row:
    """Units of one layer.

    Attributes:
        name: of the layer, or `classes`.
        title: what the row is called.
        units: their names.
        module: the module whose map is read; None: the units are classes.
        objective: their scores, from maps of this module.
        classes: their numbers, if they are classes.
    """

    name: str
    title: str
    units: tuple[str, ...]
    module: str | None
    objective: Objective
    classes: tuple[int, ...] = ()

    @property
    def stems(self) -> list[str]:
        """What names the picture of each unit; classes with their number, because names may be alike as files."""
        numbers = [f"{number} " for number in self.classes] or [""] * len(self.units)
        return [f"{self.name} {number}{unit}" for number, unit in zip(numbers, self.units, strict=True)]


@dataclass(frozen=True)
class Choice:
    """Which units of a layer are shown.

    Attributes:
        kind: see `--objective`.
        channels: their numbers; None: a few drawn at random from those that answer to images.
        direction: a file of numpy with a vector [channels].
        seed: of the channels that are drawn.
    """

    kind: str = "channel"
    channels: Sequence[int] | None = None
    direction: Path | None = None
    seed: int = 0


def make_row(network: Network, layer: Layer, choice: Choice, live: Sequence[int]) -> Row:
    """Make the row of a layer.

    Args:
        live: the channels that answer to images.

    Raises:
        UserError: the layer has no such channel, or the direction does not fit it.
    """
    title = layer.name if layer.stage is None else f"depth {layer.stage}: {layer.name}"
    units: tuple[str, ...]
    if choice.kind == "layer":
        units, objective = ("the whole layer",), excite_layer()
    elif choice.kind == "direction":
        units, objective = ("a direction",), excite_direction(_read_direction(choice.direction, layer))
    else:
        channels = _choose_channels(layer, choice, live)
        units = tuple(f"{choice.kind} {channel}" for channel in channels)
        objective = excite_channels(channels) if choice.kind == "channel" else excite_neurons(channels)
    module, lifted = lift_ceiling(network.network, layer.name)
    return Row(layer.name, title, units, module, (lambda maps: objective(relu(maps))) if lifted else objective)


def _choose_channels(layer: Layer, choice: Choice, live: Sequence[int]) -> Sequence[int]:
    if choice.channels is None:
        if not live:
            raise UserError(f"--layers {layer.name}: no channel of it answers to any image; name some with --units")
        generator = torch.Generator().manual_seed(choice.seed)
        drawn = torch.randperm(len(live), generator=generator)[:UNITS].tolist()
        return sorted(live[at] for at in drawn)
    for channel in choice.channels:
        if not 0 <= channel < layer.channels:
            raise UserError(f"--units {channel}: {layer.name} has channels 0 to {layer.channels - 1}")
    return list(dict.fromkeys(choice.channels))


def _read_direction(path: Path | None, layer: Layer) -> torch.Tensor:
    if path is None:
        raise UserError("--objective direction: needs --direction FILE.npy, a vector with a number for each channel")
    try:
        vector = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--direction {path}: cannot be read as a file of numpy ({error})") from error
    if vector.shape != (layer.channels,) or not np.isfinite(vector).all() or not vector.any():
        raise UserError(
            f"--direction {path}: is {vector.dtype} {list(vector.shape)}; {layer.name} needs {layer.channels} finite "
            "numbers, not all of them 0"
        )
    return torch.from_numpy(vector.astype(np.float32))


def make_class_row(network: Network, wanted: Sequence[str]) -> Row:
    """Make the row of classes, given by their names or numbers; none given: the first few.

    Raises:
        UserError: the network has no such class.
    """
    found = dict.fromkeys(find_class(network.classes, each, "--classes") for each in wanted)
    numbers = list(found) or list(range(min(UNITS, len(network.classes))))
    names = tuple(network.classes[number] for number in numbers)
    return Row("classes", "classes", names, None, excite_channels(numbers), tuple(numbers))
