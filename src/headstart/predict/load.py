"""`headstart.load`: a network of a run, an export, a name of conf/model, or timm."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headstart.config.paths import make_path
from headstart.config.resolvers import config_folder
from headstart.config.schema import HardwareConfig, ModelConfig
from headstart.errors import UserError, did_you_mean
from headstart.models import factory, preprocessing
from headstart.predict.device import choose_device, choose_hardware
from headstart.predict.exported import find_exported, load_exported
from headstart.predict.names import name_classes
from headstart.predict.network import Network
from headstart.predict.run import find_run, load_run
from headstart.predict.transform import Transform
from headstart.runtime import hardware
from headstart.strategy.route import LiveImages

log = logging.getLogger(__name__)


def load(run_or_name: str | Path, device: str = "auto") -> Network:
    """Load what `headstart.load` is asked for."""
    where, path = choose_device(device), make_path(run_or_name)
    if (run := find_run(path)) is not None:
        return load_run(run, where)
    if (folder := find_exported(path)) is not None:
        return load_exported(folder, where)
    return load_network(read_model(str(run_or_name)), where)


def read_model(name: str) -> ModelConfig:
    """The network of this name, and where its weights come from; conf/model comes before timm.

    Raises:
        UserError: neither knows it.
    """
    from omegaconf import OmegaConf

    known = {path.stem: path for path in (config_folder() / "model").glob("*.yaml") if path.stem != "timm"}
    if name in known:
        values: Any = OmegaConf.to_container(OmegaConf.load(known[name]))
        return ModelConfig(**values)
    try:
        factory.check_name(name)
    except UserError as error:
        hint = did_you_mean(name, known, "; in conf/model there is {}")
        raise UserError(
            f"{name}: is no folder of a run (outputs/STUDY/RUN) or of an export, no name in conf/model, and no "
            f"network of timm{hint}; {error}"
        ) from error
    return ModelConfig(name)


def load_network(config: ModelConfig, device: torch.device, image_size: int | None = None) -> Network:
    """Load a network that no run has trained; without weights on this machine it gets random ones, and a warning.

    Args:
        image_size: side of the images that it sees; None: as its weights were trained.
    """
    expected = preprocessing.expected_input(config)
    network, pretrained = _create(config)
    settings = choose_hardware(HardwareConfig(accelerator="cpu", precision="32"), device)
    network = network.eval().to(device).to(memory_format=hardware.memory_format(settings))
    return Network(
        name=config.name,
        network=network,
        module=network,
        classes=name_classes(network.num_classes, trained=pretrained),
        transform=Transform(expected if image_size is None else replace(expected, image_size=image_size)),
        hardware=settings,
        route=LiveImages("nothing is trained"),
        pretrained=pretrained,
    )


def _create(config: ModelConfig) -> tuple[Any, bool]:
    """Create the network; also returns whether its weights are trained ones."""
    reason = "conf/model names none" if config.weights == "none" else ""
    if not reason:
        try:
            return factory.load_published(config)[0], True
        except UserError as error:
            if config.weights != "imagenet":
                raise
            reason = str(error)
    log.warning("%s has random weights, so its answers mean nothing: %s", config.name, reason)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return factory.build(config), False
