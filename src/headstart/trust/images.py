"""All readable images of a run's data, and their features by the pretrained network, from the cache where they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.context import identify_features
from headstart.data.augment import Preprocess
from headstart.data.checks import Decodable
from headstart.data.filenames import list_names
from headstart.data.groups import find_groups
from headstart.data.source import is_encoded
from headstart.errors import UserError
from headstart.features.extractor import Extractor
from headstart.models import factory, preprocessing
from headstart.models.code import digest_own_code
from headstart.models.split import split_network
from headstart.runtime import hardware

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.config.schema import RunConfig
    from headstart.data.dataset import Data
    from headstart.models.input import Input

log = logging.getLogger(__name__)

SHOWN = 3  # names of images


@dataclass(frozen=True)
class Place:
    """Where an image stands: the part, its row in `data.parts[part]`, and its name."""

    part: str
    row: int
    name: str


@dataclass(frozen=True)
class Images:
    """Images of all parts: places, labels int64 [n], groups, features float32 [n, d]."""

    places: list[Place]
    labels: np.ndarray
    groups: list[str]
    features: Tensor


def check_weights(config: RunConfig) -> None:
    """Raise UserError if the config's network has no trained weights."""
    if config.model.weights == "none":
        raise UserError(
            f"--suspects needs features of a trained network, and {config.model.name} has none (model.weights=none): "
            "look at the data with one that has, such as headstart data digits --suspects model=efficientnet_lite0"
        )


def read_images(config: RunConfig, data: Data, spec: Input) -> Images:
    """Read all images and their features; those that cannot be read are said, and taken out of `data`.

    The network is the pretrained one that the config starts from, never the one that a run has trained: that has learnt
    the labels of its training images, the wrong ones too.

    Raises:
        UserError: the network has no trained weights, or no features before its head.
    """
    check_weights(config)
    config = _resolve(config)
    leave_out_unreadable(data, config)
    parts = {name: part for name, part in data.parts.items() if len(part)}
    with hardware.use_threads(config.hardware):
        extract = _open_extractor(config, data, spec)
        found = [extract(getattr(data, name), name).flatten(1).float() for name in parts]
    places = [Place(name, row, own) for name, part in parts.items() for row, own in enumerate(part.names)]
    groups = [group for name in parts for group in _list_groups(data, name, config.data.group)]
    return Images(places, np.concatenate([part.labels for part in parts.values()]), groups, torch.cat(found))


def _resolve(config: RunConfig) -> RunConfig:
    settled = replace(hardware.resolve_hardware(config.hardware), devices=1)
    return replace(config, hardware=settled, model=preprocessing.adopt(config.model))


def leave_out_unreadable(data: Data, config: RunConfig) -> None:
    """Take images that cannot be decoded out of all parts, and say which; those decoded before are not tried again."""
    memory = Decodable(config.cache)
    known = memory.read()
    for name, part in list(data.parts.items()):
        if not is_encoded(part.split.images):
            continue
        rows = np.array([row for row, id_ in enumerate(part.ids) if id_ not in known], dtype=np.int64)
        faults = data.make_reader(part.at(rows)).find_faults() if len(rows) else {}
        bad = rows[sorted(faults)]
        memory.write({part.ids[row] for row in set(rows.tolist()) - set(bad.tolist())})
        if len(bad):
            names = [part.split.names[part.rows[row]] for row in bad]
            log.warning(
                "%d of %d %s images cannot be read and are not judged: %s",
                len(bad),
                len(part),
                name,
                list_names(names, SHOWN),
            )
            data.leave_out(name, bad.tolist())


def _list_groups(data: Data, name: str, group: str | None) -> Iterator[str]:
    """The group of each image of a part; without `data.group` the digest of its content, so that copies are one."""
    part = data.parts[name]
    if group is None:
        yield from part.ids
    else:
        known = find_groups(part.split, group)
        yield from (known[row] for row in part.rows)


def _open_extractor(config: RunConfig, data: Data, spec: Input) -> Extractor:
    """The extractor of a run that fits a head on this network, so that both share the cache."""
    device = hardware.select_device(config.hardware)
    with torch.random.fork_rng(devices=[]):  # the head, which is not used, draws random numbers
        network, _ = factory.create(config.model, data.classes, pretrained=True)
    network = network.to(device).to(memory_format=hardware.memory_format(config.hardware))
    example = torch.rand(2, 3, data.image_size, data.image_size, generator=torch.Generator().manual_seed(0)).to(device)
    split = split_network(network, frozenset(), example, training=False)
    if split is None or split.at != "head":
        raise UserError(
            f"--suspects needs features before a head, and {config.model.name} has none; name another network, such as "
            "model=efficientnet_lite0"
        )
    preprocess: Any = Preprocess(data.image_size, spec.mean, spec.std, None).to(device)
    identity = identify_features(config.model, data, spec, digest_own_code(config))
    return Extractor(split, preprocess, identity, config.hardware, config.cache, config.features)
