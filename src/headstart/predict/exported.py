"""Load the network of an exported folder, or of another one in timm's format; nothing in it is executed."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headstart.config.schema import HardwareConfig, ModelConfig
from headstart.errors import UserError
from headstart.models import factory, preprocessing, weights
from headstart.predict.device import choose_hardware
from headstart.predict.names import name_classes
from headstart.predict.network import Network
from headstart.predict.transform import Transform
from headstart.runtime import hardware
from headstart.strategy.route import LiveImages

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "headstart"  # the key of config.json by which a folder is known as an export, and that holds what timm ignores
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def find_exported(folder: Path) -> Path | None:
    """The folder, if it is in timm's format; None if it is not."""
    return folder if os.path.isfile(folder / CONFIG) else None  # noqa: PTH113 - pathlib raises on a long name


def load_exported(folder: Path, device: torch.device) -> Network:
    """Load the network with its classes, transform and temperature; it computes in float32, whatever the run did.

    Raises:
        UserError: the folder is no whole export.
    """
    content = _read(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: has no {WEIGHTS}, and weights in another form are not loaded: export the run again")
    model = preprocessing.adopt(ModelConfig(content["architecture"], f"local-dir:{folder}"))
    network = factory.load_published(model)[0]
    classes = weights.read_classes(model.weights) or name_classes(network.num_classes, trained=True)
    if len(classes) != network.num_classes:
        raise UserError(f"{folder / CONFIG}: names {len(classes)} classes, and the network has {network.num_classes}")
    settings = choose_hardware(HardwareConfig(accelerator="cpu", precision="32"), device)
    network = network.eval().to(device).to(memory_format=hardware.memory_format(settings))
    own = content.get(MARK) or {}
    return Network(
        name=model.name,
        network=network,
        module=network,
        classes=classes,
        transform=Transform(preprocessing.expected_input(model), _read_pixel_range(own)),
        hardware=settings,
        route=LiveImages("nothing is trained"),
        gives_probabilities=own.get("probabilities", True),
        temperature=_read_temperature(folder, content),
        uncalibrated=f"{CONFIG} states no temperature",
    )


def _read(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / CONFIG).read_text("utf-8"))
        if not isinstance(content["architecture"], str) or not isinstance(content.get(MARK) or {}, dict):
            raise ValueError("its architecture is no name")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder / CONFIG}: does not describe a network in timm's format: {error}") from error
    return content


def _read_temperature(folder: Path, content: Mapping[str, Any]) -> float | None:
    found = content.get("temperature")
    if found is not None and not (isinstance(found, int | float) and 0 < found < math.inf):
        raise UserError(f"{folder / CONFIG}: its temperature is {found!r}, and must be a number above 0")
    return None if found is None else float(found)


def _read_pixel_range(own: Mapping[str, Any]) -> tuple[float, float] | None:
    found = own.get("pixel_range")
    return None if found is None else (float(found[0]), float(found[1]))
