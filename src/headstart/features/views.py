"""Features of augmented views of the training images: each view is computed once and cached, as all features are."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headstart.config.schema import is_random
from headstart.distributed import comm
from headstart.features.buffer import FeatureBuffer
from headstart.features.extractor import Extraction, Extractor
from headstart.features.inference import choose_batch_size
from headstart.models.split import NetworkSplit
from headstart.runtime.seeds import derive_seed

if TYPE_CHECKING:
    from headstart.context import Context
    from headstart.data.loader import Pixels

BLOCK = 64  # rows that are augmented together, from one seed
TRANSFORM = 2  # part of the cache key; to be raised when the output of `Preprocess` changes, even in the last bits


class _ViewExtractor(Extractor):
    """Computes features of one view; the augmentation of a row depends on the seed, phase and view, and its number.

    Rows are augmented in blocks of BLOCK rows, each block with a seed of its own. So the augmentation of an image does
    not depend on the batch size, the number of processes, or the content of the cache.
    """

    def __init__(self, *arguments: Any, seed: int) -> None:
        super().__init__(*arguments)
        self.seed = seed

    def _compute(self, pixels: Pixels, rows: Tensor, part: str) -> Tensor:
        device = next(self.prefix.parameters()).device
        # the last block that was augmented: a batch may end in the middle of it, and the next one then begins there
        newest: dict[int, Tensor] = {}

        def get_block(number: int) -> Tensor:
            if number not in newest:
                augmented = augment_block(number)
                newest.clear()
                newest[number] = augmented
            return newest[number]

        def augment_block(number: int) -> Tensor:
            images = pixels.take(torch.arange(len(pixels))[number * BLOCK : (number + 1) * BLOCK]).to(device)
            torch.manual_seed(derive_seed(self.seed, number))
            with torch.autocast(device.type, enabled=False):  # half precision is too coarse for coordinates of crops
                return self.preprocess(images, train=True)

        def batch(start: int, stop: int) -> Tensor:
            wanted = rows[start:stop]
            numbers = (wanted // BLOCK).unique().tolist()
            whole = torch.cat([get_block(number) for number in numbers])
            # the numbers of the rows in `whole`, ascending; those after the end of the data are never used
            places = torch.cat([torch.arange(number * BLOCK, (number + 1) * BLOCK) for number in numbers])
            return whole[torch.searchsorted(places, wanted).to(device)]

        size = choose_batch_size(pixels.side, device)
        # augmentation draws from the global generators: these are restored, so that training draws the same with and
        # without cached views
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            return comm.compute_in_shares(len(rows), lambda mine: self._infer(batch, mine, part, size))


def extract_training_features(
    context: Context, phase: str, split: NetworkSplit, views: int, extractor: Extractor
) -> tuple[Tensor, Tensor]:
    """Features and labels that a phase trains on: one row per image, or successive rows for the views of each image."""
    train = context.data.train
    if not views:
        return extractor(train, "train"), train.labels
    features = extract_view_features(context, phase, split, views, extractor.costs)
    return features.flatten(0, 1), train.labels.repeat_interleave(views)


def extract_view_features(
    context: Context, phase: str, split: NetworkSplit, views: int, costs: dict[str, Extraction]
) -> Tensor:
    """Extract features [n, views, ...] of the training images; the cost of each view is added to `costs`."""
    config, train = context.config, context.data.train
    n, buffer = len(train), FeatureBuffer(len(train) * views, config.features.storage)
    drawn_by = {"kornia": version("kornia")} if is_random(config.augment) else {}
    for view in range(views):
        seed = derive_seed(config.seed, phase, view)
        # Added to the cache key: the transform, the versions of its code and of kornia, the seed, and the list of all
        # images, because the augmentation of a row depends on its number: with other images a view is different.
        view_key = {"augment": vars(config.augment), "code": TRANSFORM, "seed": seed, "images": train.ids} | drawn_by
        extract = _ViewExtractor(
            split,
            context.preprocess(config.augment),
            context.features_identity | {"view": view_key},
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
