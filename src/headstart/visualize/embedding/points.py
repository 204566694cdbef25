"""The points of a map: which images, their features and predictions, by one run or two."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from headstart.data.reader import ImageReader
from headstart.errors import UserError
from headstart.tracking import progress
from headstart.visualize.embedding.feature_map import LEAST, Quality, fit_map, measure_quality
from headstart.visualize.rows import draw_rows
from headstart.visualize.run_data import read_run_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headstart.data.dataset import Data
    from headstart.data.splits import Part
    from headstart.predict.network import Network

THUMBNAIL = 64  # pixels
QUALITY = 80  # of WebP


@dataclass(frozen=True)
class Map:
    """One run's map of the images: points float32 [n, 2], predicted classes int64 [n]; `name` stands above it."""

    name: str
    points: np.ndarray
    predicted: np.ndarray
    accuracy: float
    quality: Quality


@dataclass(frozen=True)
class Maps:
    """The maps of one run or two, of the same images: their names, and their labels int64 [n]."""

    classes: Sequence[str]
    names: Sequence[str]
    labels: np.ndarray
    thumbnails: Sequence[str]  # data URLs
    maps: Sequence[Map]


def make_maps(networks: Sequence[Network], most: int, seed: int) -> Maps:
    """Make the maps of the runs' test images; the second starts from the first.

    Raises:
        UserError: a network is from no run, the runs have different test images, or there are too few.
    """
    datas = [read_run_data(network) for network in networks]
    for network, data in zip(networks[1:], datas[1:], strict=True):
        _check_same(networks[0], datas[0], network, data)
    n = len(datas[0].parts["test"])
    if min(n, most) < LEAST:
        raise UserError(f"a map needs at least {LEAST} test images; there are {n}, and --images {most}")
    rows = draw_rows(n, most, seed)
    part = datas[0].parts["test"].at(rows)
    maps: list[Map] = []
    for network, data in zip(networks, datas, strict=True):
        maps.append(_make_map(network, data, rows, seed, maps[0].points if maps else None))
    return Maps(datas[0].classes, part.names, part.labels, _make_thumbnails(datas[0], part), maps)


def _check_same(network: Network, data: Data, other: Network, others: Data) -> None:
    """Raise UserError unless both runs have the same test images, in the same order, and the same classes."""
    where = f"{network.folder} and {other.folder}"
    if data.classes != others.classes:
        different = sorted({*data.classes} ^ {*others.classes})
        words = f": {', '.join(different[:3])}" if different else ", or their order"
        raise UserError(f"{where}: their classes differ{words}; two maps can be compared for the same test images only")
    ids, other_ids = data.parts["test"].ids, others.parts["test"].ids
    if ids != other_ids:
        raise UserError(
            f"{where}: their test images differ: {len(ids)} and {len(other_ids)}, {len({*ids} & {*other_ids})} of them "
            "in common; two maps can be compared for the same test images only"
        )


def _make_map(network: Network, data: Data, rows: np.ndarray, seed: int, first: np.ndarray | None) -> Map:
    part = data.parts["test"].at(rows)
    features = network.compute_features(data.make_reader(part))
    logits = torch.cat([each.values for each in network.compute_logits(data.make_reader(part))])
    predicted, points = logits.argmax(1).numpy(), fit_map(features, seed, first)
    accuracy = float((predicted == part.labels).mean())
    assert network.folder is not None
    return Map(network.folder.name, points, predicted, accuracy, measure_quality(features, points, part.labels))


def _make_thumbnails(data: Data, part: Part) -> list[str]:
    """The images as data URLs of small WebP files, square as the network sees them."""
    reader = ImageReader(part, THUMBNAIL, data.interpolation, resize=data.resize, fill=data.fill)
    found = []
    with progress.task("thumbnails", len(part)) as work:
        for pixels in reader.read_all().permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
            found.append(f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}")
            work.done += 1
    return found
