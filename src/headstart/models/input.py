"""The input that a network expects, as timm describes it and as the config of a run states it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.errors import UserError

log = logging.getLogger(__name__)

CROP_MODES = {"center": "crop", "squash": "squash", "border": "pad"}  # timm's name: the value of data.resize


@dataclass(frozen=True)
class Input:
    """The input that a network expects: size in pixels, how an image becomes a square of it, and normalisation."""

    image_size: int
    crop_pct: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = "crop"  # see `headstart.data.square`


def input_from_plain(values: Mapping[str, Any]) -> Input:
    """Read the input that the config of a run states.

    Raises:
        ValueError, LookupError, TypeError: it does not state one.
    """
    mean, std = ([float(value) for value in values[key]] for key in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or values["resize"] not in CROP_MODES.values():
        raise ValueError(f"preprocessing: {dict(values)}")
    return Input(
        int(values["image_size"]),
        float(values["crop_pct"]),
        str(values["interpolation"]),
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
        values["resize"],
    )


def read_timm_config(cfg: Any, source: str) -> Input:
    """Turn timm's `pretrained_cfg` into the input; `source` is the key that an error names."""
    from timm.data import resolve_data_config

    resolved = resolve_data_config(pretrained_cfg=cfg.to_dict() if hasattr(cfg, "to_dict") else dict(cfg or {}))
    channels, height, width = resolved["input_size"]
    if not channels == len(resolved["mean"]) == len(resolved["std"]) == 3:
        raise UserError(
            f"{source}: takes images of {channels} channel{'s' * (channels != 1)}, not of three: choose another network"
        )
    if height != width:
        log.warning("  %s was trained on images of %d x %d pixels; here they are square", source, width, height)
    if resolved["crop_mode"] not in CROP_MODES:
        known = ", ".join(CROP_MODES)
        raise UserError(f"{source}: its crop_mode '{resolved['crop_mode']}' is unknown; it must be one of {known}")
    return Input(
        width,
        resolved["crop_pct"],
        resolved["interpolation"],
        tuple(resolved["mean"]),
        tuple(resolved["std"]),
        CROP_MODES[resolved["crop_mode"]],
    )
