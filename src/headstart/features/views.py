"""Features of augmented views of the training images, each view computed once and kept on disk like any features."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headstart.distributed import comm
from headstart.features.extractor import Extraction, Extractor, Room, images_per_batch
from headstart.models.split import NetworkSplit
from headstart.runtime.seeds import seed_of

if TYPE_CHECKING:
    from headstart.context import Context
    from headstart.data.loader import Pixels

BLOCK = 64  # rows whose augmentation is drawn together
TRANSFORM = 2  # raised when `Preprocess` gives other numbers, be it in their last bits: older views do not count then


class _ViewExtractor(Extractor):
    """Features of one view: a row's augmentation depends on seed, phase, view and the row's place alone.

    Rows are augmented in blocks at fixed places, whatever the batches and however many processes.
    """

    def __init__(self, *arguments: Any, seed: int) -> None:
        super().__init__(*arguments)
        self.seed = seed

    def _compute(self, pixels: "Pixels", rows: Tensor, part: str) -> Tensor:
        device = next(self.prefix.parameters()).device
        newest: dict[int, Tensor] = {}  # a batch may end in the middle of a block, in which the next one begins

        def block(number: int) -> Tensor:
            if number not in newest:
                augmented = drawn(number)
                newest.clear()
                newest[number] = augmented
            return newest[number]

        def drawn(number: int) -> Tensor:
            images = pixels.take(torch.arange(len(pixels))[number * BLOCK : (number + 1) * BLOCK]).to(device)
            torch.manual_seed(seed_of(self.seed, number))
            with torch.autocast(device.type, enabled=False):  # crops are computed from coordinates
                return self.preprocess(images, train=True)

        def batch(start: int, stop: int) -> Tensor:
            wanted = rows[start:stop]
            numbers = (wanted // BLOCK).unique().tolist()
            whole = torch.cat([block(number) for number in numbers])
            places = torch.cat([torch.arange(number * BLOCK, (number + 1) * BLOCK) for number in numbers])
            return whole[torch.searchsorted(places, wanted).to(device)]

        size = images_per_batch(pixels.side, device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            return comm.compute_in_shares(len(rows), lambda mine: self._inferred(batch, mine, part, size))


def training_features(
    context: "Context", phase: str, split: NetworkSplit, views: int, extractor: Extractor
) -> tuple[Tensor, Tensor]:
    """Features and labels of what a phase trains on: a row an image, or, side by side, a row for each of its views."""
    train = context.data.train
    if not views:
        return extractor(train, "train"), train.labels
    features = features_of_views(context, phase, split, views, extractor.costs)
    return features.flatten(0, 1), train.labels.repeat_interleave(views)


def features_of_views(
    context: "Context", phase: str, split: NetworkSplit, views: int, costs: dict[str, Extraction]
) -> Tensor:
    """Features [n, views, ...] of the training images; what they cost is added to ``costs``, a part a view."""
    config, train = context.config, context.data.train
    n, room = len(train), Room(len(train) * views, config.features.storage)
    for view in range(views):
        seed = seed_of(config.seed, phase, view)
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
        room.put(torch.arange(view, n * views, views), extract(train, part))
        costs[part] = extract.costs[part]
    return room.tensor.view(n, views, *room.tensor.shape[1:])
