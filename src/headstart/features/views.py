"""Features of augmented views of the training images: each view is computed once and kept on disk as all features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headstart.distributed import comm
from headstart.features.buffer import FeatureBuffer
from headstart.features.extractor import Extraction, Extractor
from headstart.features.inference import images_per_batch
from headstart.models.split import NetworkSplit
from headstart.runtime.seeds import derive_seed

if TYPE_CHECKING:
    from headstart.context import Context
    from headstart.data.loader import Pixels

BLOCK = 64  # rows that are augmented together, from one seed
TRANSFORM = 2  # in the cache key; raise it when `Preprocess` changes its numbers, even in the last bits


class _ViewExtractor(Extractor):
    """Features of one view: how a row is augmented depends on the seed, phase and view, and on the row's number.

    Rows are augmented in blocks of BLOCK at fixed places, each with a seed of its own. So an image is augmented the
    same whatever the batch size, the number of processes, and the rows that are in the cache already.
    """

    def __init__(self, *arguments: Any, seed: int) -> None:
        super().__init__(*arguments)
        self.seed = seed

    def _compute(self, pixels: Pixels, rows: Tensor, part: str) -> Tensor:
        device = next(self.prefix.parameters()).device
        # the last block that was augmented: a batch may end in the middle of it, and the next one then begins there
        newest: dict[int, Tensor] = {}

        def block(number: int) -> Tensor:
            if number not in newest:
                augmented = drawn(number)
                newest.clear()
                newest[number] = augmented
            return newest[number]

        def drawn(number: int) -> Tensor:
            images = pixels.take(torch.arange(len(pixels))[number * BLOCK : (number + 1) * BLOCK]).to(device)
            torch.manual_seed(derive_seed(self.seed, number))
            with torch.autocast(device.type, enabled=False):  # half precision is too coarse for coordinates of crops
                return self.preprocess(images, train=True)

        def batch(start: int, stop: int) -> Tensor:
            wanted = rows[start:stop]
            numbers = (wanted // BLOCK).unique().tolist()
            whole = torch.cat([block(number) for number in numbers])
            # the numbers of the rows in `whole`, ascending; past the end of the data there are numbers nobody asks for
            places = torch.cat([torch.arange(number * BLOCK, (number + 1) * BLOCK) for number in numbers])
            return whole[torch.searchsorted(places, wanted).to(device)]

        size = images_per_batch(pixels.side, device)
        # augmentation draws from the global generators: these are restored, so that training draws the same with and
        # without cached views
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            return comm.compute_in_shares(len(rows), lambda mine: self._infer(batch, mine, part, size))


def training_features(
    context: Context, phase: str, split: NetworkSplit, views: int, extractor: Extractor
) -> tuple[Tensor, Tensor]:
    """Features and labels of what a phase trains on: a row an image, or, side by side, a row for each of its views."""
    train = context.data.train
    if not views:
        return extractor(train, "train"), train.labels
    features = features_of_views(context, phase, split, views, extractor.costs)
    return features.flatten(0, 1), train.labels.repeat_interleave(views)


def features_of_views(
    context: Context, phase: str, split: NetworkSplit, views: int, costs: dict[str, Extraction]
) -> Tensor:
    """Features [n, views, ...] of the training images; their cost is added to `costs`, an entry for each view."""
    config, train = context.config, context.data.train
    n, buffer = len(train), FeatureBuffer(len(train) * views, config.features.storage)
    for view in range(views):
        seed = derive_seed(config.seed, phase, view)
        # Added to the cache key: the transform, the version of its code, the seed, and the list of all images. The last
        # because a row's augmentation depends on its number: with other images in the set, a view is another one.
        drawn = {"augment": vars(config.augment), "code": TRANSFORM, "seed": seed, "images": train.ids}
        extract = _ViewExtractor(
            split,
            context.preprocess(config.augment),
            context.features_identity | {"view": drawn},
            config.hardware,
            config.cache,
            config.features,
            seed=seed,
        )
        part = f"view {view + 1} of training"
        # view v of image i is row i * views + v
        buffer.put(torch.arange(view, n * views, views), extract(train, part))
        costs[part] = extract.costs[part]
    return buffer.tensor.view(n, views, *buffer.tensor.shape[1:])
