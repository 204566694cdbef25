"""Load the network of a completed run from its folder; nothing that the folder names is imported or unpickled."""

from __future__ import annotations

import math
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from headstart.config import own_code
from headstart.config.schema import ModelConfig, RunConfig, from_plain
from headstart.errors import UserError
from headstart.models import factory, preprocessing, weights
from headstart.predict.device import choose_hardware
from headstart.predict.network import Network
from headstart.predict.transform import Transform
from headstart.probe import head_file
from headstart.runtime import hardware
from headstart.storage.records import Result, make_damage_error, read_result, read_state
from headstart.strategy.plan import plan_phases
from headstart.strategy.route import FittedHead, Route, choose_route

RUN_FILES = ("config.yaml", "state.json", "result.json")
SHOWN = 10  # runs of a study


def find_run(folder: Path) -> Path | None:
    """The folder, if it is that of a run; None if it is none.

    Raises:
        UserError: it is that of a whole study.
    """
    if any(os.path.isfile(folder / name) for name in RUN_FILES):  # noqa: PTH113 - pathlib raises on a long name
        return folder
    is_folder = os.path.isdir(folder)  # noqa: PTH112
    if is_folder and (runs := sorted(path.parent for path in folder.glob("*/config.yaml"))):
        names = "".join(f"\n  {path}" for path in runs[:SHOWN]) + "\n  …" * (len(runs) > SHOWN)
        raise UserError(f"{folder} is a study; name one of its runs:{names}")
    return None


def load_run(folder: Path, device: torch.device) -> Network:
    """Load the network of a completed run, with its head and its way of reading images.

    Raises:
        UserError: the run is not complete, its weights were not kept, or its folder is damaged.
    """
    result = _read_result(folder)
    config = read_config(folder)
    _check_weights(folder)
    # what the caller has imported is the caller's own code; a run's folder never decides what is imported
    own_code.load([name for name in config.imports or () if name in sys.modules])
    try:
        return _build(folder, config, result, device)
    except UserError as error:
        if not config.imports:
            raise
        raise UserError(
            f"{error}. This run used code of its author's own, imports={list(config.imports)}, which is not imported "
            "because a folder names it; if you trust it, import it before, or add --imports MODULE"
        ) from error


def _build(folder: Path, config: RunConfig, result: Result, device: torch.device) -> Network:
    settings = choose_hardware(config.hardware, device)
    model = preprocessing.adopt(ModelConfig(config.model.name, f"run:{folder}", config.model.args))
    classes = [str(name) for name in result["classes"]]
    with torch.random.fork_rng(devices=[]):  # a head that is replaced draws random numbers
        network, _ = factory.create(model, tuple(classes), pretrained=True)
    network = network.eval().to(device).to(memory_format=hardware.memory_format(settings))
    expected = preprocessing.expected_input(model)
    phase = plan_phases(network, config.strategy.phases)[-1]
    route = choose_route(network, phase, config.augment, expected.image_size)
    path = folder / weights.PROBE
    own_head = head_file.load(path).to(device) if path.is_file() else None
    return Network(
        name=config.model.name,
        network=network,
        module=_join(network, route, own_head),
        classes=classes,
        transform=Transform(expected, _read_pixel_range(config, result)),
        hardware=settings,
        route=route,
        own_head=own_head,
        folder=folder,
        gives_probabilities=result["test"].get("nll") is not None,
        features_dtype=config.features.dtype,
        **_read_calibration(result),
    )


def _read_calibration(result: Result) -> dict[str, Any]:
    """The temperature of the run, or why it has none."""
    found = result.get("calibration")
    if not isinstance(found, dict):
        return {"uncalibrated": "it was trained by an earlier version: train it again with rerun=true"}
    temperature = found.get("temperature")
    if temperature is None:
        return {"uncalibrated": str(found.get("why"))}
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise make_damage_error(result.folder / "result.json", f"calibration.temperature is {temperature!r}")
    return {"temperature": float(temperature)}


def _join(network: Any, route: Route, own_head: nn.Module | None) -> nn.Module:
    """The network from images to logits, in eval mode: with its own head, or with a fitted one behind a part of it."""
    if own_head is None:
        return network.eval()
    assert isinstance(route, FittedHead)
    return nn.Sequential(route.split.prefix, route.make_classifier(network, own_head)).eval()


def _read_result(folder: Path) -> Result:
    result = read_result(folder)
    if result is None:
        status = read_state(folder).get("status", "not begun")
        if status == "completed":
            raise UserError(
                f"{folder}: this run is not complete, because its result.json is missing; this makes it again"
                f"{_tell_command(folder)}"
            )
        raise UserError(
            f"{folder}: this run is not complete (its status: {status}); the command that started it goes on with it"
            f"{_tell_command(folder)}"
        )
    for key, kind in (("classes", list), ("test", dict)):
        if not isinstance(result.get(key), kind):
            raise make_damage_error(folder / "result.json", f"it has no {key}")
    return result


def read_config(folder: Path) -> RunConfig:
    """Read the config of a run.

    Raises:
        UserError: it is missing, damaged, or of another version.
    """
    try:
        return from_plain(preprocessing.read_config(folder))
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise make_damage_error(folder / "config.yaml", error) from error


def _check_weights(folder: Path) -> None:
    if not (folder / weights.FINAL).is_file():
        raise UserError(
            f"{folder}: its weights were not kept (keep=none), or were deleted; this makes them again"
            f"{_tell_command(folder, 'rerun=true', 'keep=best')}"
        )


def _tell_command(folder: Path, *more: str) -> str:
    """The command that the run's overrides stand for, after a colon; nothing if they cannot be read."""
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        overrides = OmegaConf.to_container(OmegaConf.load(folder / "overrides.yaml"), resolve=False)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException):
        return ""
    words = [str(word) for word in overrides or () if str(word).partition("=")[0] not in ("rerun", "keep")]
    return f": {shlex.join(['headstart', 'train', *words, *more])}"


def _read_pixel_range(config: RunConfig, result: Result) -> tuple[float, float] | None:
    """The values of black and white that the run found in its deep images, or was told; None: it had none."""
    found = (result.get("preprocessing") or {}).get("pixel_range") or config.data.pixel_range
    return None if found is None else (float(found[0]), float(found[1]))
