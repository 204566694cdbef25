"""Test a trained network on labelled images, of its run or others: the numbers of `result.json`, without training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from headstart.config.words import count
from headstart.data.dataset import Data, prepare
from headstart.data.filenames import list_names
from headstart.data.reader import list_faults
from headstart.data.seen import read_seen
from headstart.errors import UserError
from headstart.evaluation import metrics, probabilities

if TYPE_CHECKING:
    from headstart.config.schema import DataConfig
    from headstart.data.splits import Part
    from headstart.predict.network import Network

log = logging.getLogger(__name__)

PARTS = ("test", "val", "train")
SHOWN = 3  # names of images


@dataclass(frozen=True)
class Tested:
    """The outcome of a test.

    Attributes:
        names, labels, scores: of each image: its name, the class by its number in the network, its outputs.
        missing: classes of the network without an image.
        skipped: classes that the network does not know, with their numbers of images, which were left out.
        digests: of the images and labels of each part.
    """

    names: list[str]
    labels: Tensor
    scores: Tensor
    missing: list[str]
    skipped: dict[str, int]
    digests: dict[str, str]

    def describe(self, network: Network) -> dict[str, Any]:
        """The numbers under the names that they have in `result.json`."""
        return {
            "n_test": len(self.labels),
            "test": metrics.evaluate(self.scores, self.labels, network.gives_probabilities),
            "per_class": metrics.list_classes(self.scores, self.labels, network.classes),
            "classes": network.classes,
            "classes_without_images": self.missing,
            "unknown_classes_left_out": self.skipped,
            "digests": self.digests,
        }

    def save(self, folder: Path, network: Network) -> None:
        """Write predictions.csv and predictions.npz, as a run does."""
        rows = metrics.list_predictions(self.scores, self.labels, self.names, network.gives_probabilities)
        metrics.save_predictions(folder / "predictions.csv", rows, network.classes)
        parts = {"test": (self.names, self.labels, self.scores)}
        probabilities.save_probabilities(
            folder / probabilities.NAME, parts, network.classes, network.gives_probabilities
        )


def prepare_data(network: Network, config: DataConfig, cache: Path | None) -> Data:
    """Read and split the data of a config; images are read as the network's own were."""
    own = network.transform.input
    given = config.pixel_range or network.transform.pixel_range
    return prepare(
        replace(config, resize=own.resize, pixel_range=given, storage="stream"),
        image_size=own.image_size,
        crop_pct=own.crop_pct,
        interpolation=own.interpolation,
        cache_dir=cache,
        mean=own.mean,
    )


def evaluate(
    network: Network, data: Data, part: str = "test", *, skip_unknown: bool = False, batch_size: int | None = None
) -> Tested:
    """Test the network on a part of the data, or on `all` of it; classes are matched by name.

    Args:
        skip_unknown: leave out images of classes that the network does not know.

    Raises:
        UserError: there are such classes, or images that cannot be read.
    """
    named = {name: data.parts[name] for name in (PARTS if part == "all" else (part,))}
    chosen = [*named.values()]
    known = {name: index for index, name in enumerate(network.classes)}
    places = np.array([known.get(name, -1) for name in data.classes])
    skipped = _find_unknown(network, data, chosen, places, skip_unknown)
    parts = [each.at(np.flatnonzero(places[each.labels] >= 0)) for each in chosen]
    parts = [each for each in parts if len(each)]
    if not parts:
        raise UserError(f"--part {part}: no image of a class that the network knows")
    _warn_if_seen(network, parts)
    labels = np.concatenate([places[each.labels] for each in parts])
    scores = _compute(network, data, parts, batch_size)
    missing = [name for index, name in enumerate(network.classes) if not (labels == index).any()]
    names = [name for each in parts for name in each.names]
    digests = {name: each.digest() for name, each in named.items()}
    return Tested(names, torch.from_numpy(labels), scores, missing, skipped, digests)


def _find_unknown(
    network: Network, data: Data, parts: Sequence[Part], places: np.ndarray, skip: bool
) -> dict[str, int]:
    """The classes that the network does not know, with their numbers of images; UserError unless they are skipped."""
    counts = np.bincount(np.concatenate([part.labels for part in parts]), minlength=len(data.classes))
    unknown = {data.classes[at]: int(counts[at]) for at in np.flatnonzero((places < 0) & (counts > 0))}
    if unknown and not skip:
        raise UserError(
            f"the network does not know {count(len(unknown), 'class')} of these images: {list_names([*unknown])}; it "
            f"knows {list_names(network.classes)}. Rename them if they mean the same, or leave their images out: "
            "--skip-unknown"
        )
    return unknown


def _compute(network: Network, data: Data, parts: Sequence[Part], batch_size: int | None) -> Tensor:
    """The outputs [n, classes] for all parts; a UserError names the images of all of them that cannot be read."""
    found, bad, listed = [], 0, ""
    for part in parts:
        faults: dict[int, str] = {}
        for logits in network.compute_logits(data.make_reader(part), batch_size):
            found.append(logits.values)
            faults |= logits.faults
        bad, listed = bad + len(faults), listed + list_faults(part, faults)
    if bad:
        n = sum(map(len, parts))
        raise UserError(f"{bad} of {n} images cannot be read; repair or remove them:{listed}")
    return torch.cat(found)


def _warn_if_seen(network: Network, parts: Sequence[Part]) -> None:
    seen = read_seen(network.folder)
    names = [name for part in parts for name, id_ in zip(part.names, part.ids, strict=True) if id_ in seen]
    if names:
        log.warning(
            "%d of %d images stand in what the run was trained or validated on, so its numbers are too good: %s",
            len(names),
            sum(map(len, parts)),
            list_names(names, SHOWN),
        )
