"""Features of a network's frozen first part (its prefix): computed once per image, cached on disk, shared by all runs.

A cache entry is a folder. Its name is a digest of everything except the image that the numbers depend on: the prefix's
weights and layers, the input transform, the precision, the device and the library versions (the key in `Extractor`). If
one of these changes, another folder is used, so no entry is ever out of date. `headstart.features.store` has the format
of an entry.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.distributed import comm
from headstart.features.buffer import FeatureBuffer
from headstart.features.inference import choose_batch_size, run_inference
from headstart.features.store import FeatureStore
from headstart.models import weights
from headstart.models.fold import fold_batch_norms
from headstart.models.split import NetworkSplit
from headstart.runtime import hardware
from headstart.runtime.shared import derive
from headstart.runtime.version import __version__

if TYPE_CHECKING:
    from headstart.config.schema import FeaturesConfig, HardwareConfig
    from headstart.context import Context
    from headstart.data.loader import Pixels

SHARD = 16_384  # rows per shard; a crash in a long extraction loses at most the shard that was being computed
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Extraction:
    """The cost of the features of a part of the data.

    Attributes:
        seconds: time to compute all rows, by this run or by another one.
        computed: rows computed by this run.
        reused: rows that were not computed: found on disk, or of an image that occurs twice.
        reused_seconds: the share of `seconds` that another run spent.
        earlier_seconds: the share of `seconds` spent on reading the images earlier, when they were checked.
    """

    seconds: float = 0.0
    computed: int = 0
    reused: int = 0
    reused_seconds: float = 0.0
    earlier_seconds: float = 0.0

    @property
    def own_seconds(self) -> float:
        """Seconds that this run itself spent."""
        return self.seconds - self.reused_seconds

    @property
    def rows(self) -> int:
        """The number of all rows, computed by this run or not."""
        return self.computed + self.reused


class Extractor:
    """Turns images into features by the frozen prefix of a phase, with a cache.

    Args:
        split: the two halves of the network; the prefix runs with its batch norms folded into the convolutions.
        preprocess: turns uint8 images [n, 3, s, s] into the network's input, without randomness.
        identity: everything else that features depend on: the network's name and arguments, the input transform.
        config: device, precision and workers.
        cache_dir: the folder of the cache, or None.
        kept: the precision of the features, and whether they are in memory or in a mapped file.
        owner: the network that was split; if jobs share it, they share its folded prefix too.
    """

    def __init__(
        self,
        split: NetworkSplit,
        preprocess: nn.Module,
        identity: dict[str, Any],
        config: HardwareConfig,
        cache_dir: Path | None,
        kept: FeaturesConfig | None = None,
        owner: Any = None,
    ) -> None:
        import timm

        self.preprocess, self.config = preprocess.eval(), config
        self.dtype = None if kept is None else DTYPES.get(kept.dtype)  # None: the type that the prefix returns
        self.storage = "memory" if kept is None else kept.storage
        self.costs: dict[str, Extraction] = {}  # by part of the data
        # Only tensors that the prefix uses may be in the key. If the network is split at the head, the prefix contains
        # the whole network, so the head's weights are in both halves. They change between runs, the features do not.
        behind = {id(tensor) for tensor in [*split.rest.parameters(), *split.rest.buffers()]}
        state = {
            name: value for name, value in split.prefix.state_dict(keep_vars=True).items() if id(value) not in behind
        }
        key = {
            # what the prefix does with its weights: where it ends, its layers with strides, paddings and poolings, and
            # the code of a traced prefix or the chosen stages
            "at": split.at,
            "layers": repr(split.prefix),
            "code": getattr(split.prefix, "code", ""),
            "identity": identity,
            # rounding: a CPU and a GPU, or two versions of a library, differ in the last bits
            "precision": config.precision if self.dtype is None else f"{config.precision} kept as {self.dtype}",
            "device": config.accelerator,
            "versions": [__version__, torch.__version__, timm.__version__],
        }
        self.prefix, digest = derive(
            owner,
            "prefix",
            json.dumps(key, sort_keys=True, default=str),
            lambda: (
                fold_batch_norms(split.prefix).to(memory_format=hardware.memory_format(config)),
                weights.digest_tensors(state),
            ),
        )
        text = json.dumps(key | {"weights": digest}, sort_keys=True, default=str)
        self.key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.store = FeatureStore(cache_dir, self.key)
        self.validation: Tensor | None = None

    def __call__(self, pixels: Pixels, part: str) -> Tensor:
        """Features [n, ...] of every image, on the CPU: those on disk are read, the others are computed and written.

        Features of the part `val` are kept, because a phase and its evaluation both need them. With several processes,
        each computes a share, and all get all features.
        """
        if part == "val" and self.validation is not None:
            return self.validation
        features = self._read_or_compute(pixels, part)
        if part == "val":
            self.validation = features
        return features

    def _read_or_compute(self, pixels: Pixels, part: str) -> Tensor:
        """Read or compute features [n, ...] in the order of the images; their cost is added to `costs`."""
        cost = self.costs[part] = Extraction()
        rows, seconds = self.store.read(set(pixels.ids))
        # the first row of each digest: of equal images only this one is computed
        first = {id_: row for row, id_ in reversed(list(enumerate(pixels.ids)))}
        missing = [row for row, id_ in enumerate(pixels.ids) if id_ not in rows and first[id_] == row]
        # All processes must divide the same rows among them. They may have seen different caches, because another run
        # can write to the cache at the same time: a row that one of them does not have is computed.
        if comm.world_size() > 1:
            lacking = set().union(*comm.all_gather({pixels.ids[row] for row in missing}))
            missing = [row for row, id_ in enumerate(pixels.ids) if id_ in lacking and first[id_] == row]
        cost.reused, cost.computed = len(pixels.ids) - len(missing), len(missing)
        cost.seconds = cost.reused_seconds = seconds
        buffer = FeatureBuffer(len(pixels.ids), self.storage)
        present = [row for row, id_ in enumerate(pixels.ids) if id_ in rows]
        for block in torch.tensor(present).split(SHARD) if present else ():
            buffer.put(block, torch.stack([rows[pixels.ids[row]] for row in block]))
        for block in torch.tensor(missing).split(SHARD) if missing else ():
            began = time.monotonic()
            computed = self._compute(pixels, block, part)
            # images may have been read before, when the data was checked: that time counts here, once
            reading = pixels.claim_reading_seconds()
            took = time.monotonic() - began + reading
            cost.seconds += took
            cost.earlier_seconds += reading
            if comm.is_first():
                self.store.write([pixels.ids[row] for row in block], computed, took)
            # all rows in one block: no second copy is needed
            if len(block) == len(pixels.ids) and self.storage != "mapped":
                return computed
            buffer.put(block, computed)
        # the other rows of equal images are copied from the first
        again = [row for row, id_ in enumerate(pixels.ids) if id_ not in rows and first[id_] != row]
        if again:
            buffer.put(torch.tensor(again), buffer.tensor[[first[pixels.ids[row]] for row in again]])
        return buffer.tensor

    def _compute(self, pixels: Pixels, rows: Tensor, part: str) -> Tensor:
        """Compute features [len(rows), ...] of these rows of the images; each process computes a share."""
        device = next(self.prefix.parameters()).device
        size = choose_batch_size(pixels.side, device)

        def features(mine: slice) -> Tensor:
            images = pixels.batches(rows[mine], size, workers=self.config.workers, pin=device.type == "cuda")

            def batch(start: int, stop: int) -> Tensor:
                return self.preprocess(next(images).to(device, non_blocking=True))

            return self._infer(batch, mine, part, size)

        return comm.compute_in_shares(len(rows), features)

    def _infer(self, batch: Callable[[int, int], Tensor], mine: slice, part: str, size: int) -> Tensor:
        """Compute the prefix's outputs for the rows `mine`, in the precision in which features are kept."""
        found = run_inference(self.prefix, batch, mine, self.config, f"features of {part} images", batch_size=size)
        return found if self.dtype is None else found.to(self.dtype)


def open_extractor(context: Context, split: NetworkSplit) -> Extractor:
    """Make an extractor with this run's cache and the weights that the network has now."""
    return Extractor(
        split,
        context.preprocess(),
        context.features_identity,
        context.config.hardware,
        context.config.cache,
        context.config.features,
        context.model,
    )
