"""Features of a frozen prefix: computed once per image, kept on disk, and shared by all runs that need the same.

A cache entry is a folder. Its name is a digest of what decides the numbers besides the image: the prefix's weights and
layers, the input transform, the precision, the device and the library versions (the key in `Extractor`). A change of
any of these leads to another folder, so no entry is ever out of date.

In an entry, shards hold rows, each under the digest of its image. Splits, subsets and the order of images are not in
the key, so another split, more images or a second study only compute the images that are new.

A shard is written under another name, flushed to disk and renamed. Its name is the digest of its content: runs that
write at the same time do not disturb each other, and a shard that is cut short or damaged is recognised and not used.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart import __version__, hardware, ranks
from headstart.data.reading import free_memory
from headstart.errors import RunFailed
from headstart.files import unwritten, whole
from headstart.models import cut as cutting
from headstart.models import weights

if TYPE_CHECKING:
    from headstart.config import FeaturesConfig, HardwareConfig
    from headstart.data.loading import Pixels

log = logging.getLogger(__name__)

ID_BYTES = 16  # length of an image's digest
SHARD = 16_384  # rows per shard; a crash in a long extraction loses at most the shard that was being computed
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Extraction:
    """What the features of a part of the data cost.

    Attributes:
        seconds: time to compute all rows, whichever run computed them.
        computed: rows computed by this run.
        reused: rows that were not computed: found on disk, or of an image that occurs twice.
        reused_seconds: the share of ``seconds`` that another run spent.
        earlier_seconds: the share of ``seconds`` spent on reading the images earlier, when they were checked.
    """

    seconds: float = 0.0  # of computing rows when they were computed, by whichever run
    computed: int = 0  # rows computed by this run
    reused: int = 0  # rows found on disk
    reused_seconds: float = 0.0  # the part of `seconds` that another run paid
    earlier_seconds: float = 0.0  # the part of `seconds` that reading the images took when they were checked

    @property
    def paid(self) -> float:
        """Seconds that this run itself spent."""
        return self.seconds - self.reused_seconds

    @property
    def rows(self) -> int:
        """Rows in all, computed by this run or not."""
        return self.computed + self.reused


def infer(
    network: nn.Module,
    batch: Callable[[int, int], Tensor],
    rows: slice,
    config: "HardwareConfig",
    what: str,
    *,
    batch_size: int,
) -> Tensor:
    """Run ``network`` on the inputs ``rows`` in eval and inference mode; returns its outputs [n, ...] on the CPU.

    A row's output does not depend on which rows are computed with it. So it is the same whatever was in the cache
    before, and on any number of processes.

    Args:
        batch: ``batch(start, stop)`` gives the inputs of these rows, on any device. It is called in ascending order.
        rows: which rows to compute.
        what: what the progress lines call it; one line is logged every few seconds.
        batch_size: rows per call of the network.
    """
    device = next(chain(network.parameters(), network.buffers())).device
    network.eval()
    outputs: Tensor | None = None
    n = rows.stop - rows.start
    began = said = time.monotonic()
    with torch.inference_mode(), hardware.autocast(config, device):
        for start in range(rows.start, rows.stop, batch_size):
            stop = min(start + batch_size, rows.stop)
            inputs = batch(start, stop).to(device)
            # Libraries choose a kernel by the shape of the batch, and kernels differ in the last bits. So the last
            # batch is filled up with copies of its last row, whose outputs are dropped.
            if len(inputs) < batch_size:
                inputs = torch.cat([inputs, inputs[-1:].expand(batch_size - len(inputs), *inputs.shape[1:])])
            if inputs.ndim == 4:
                inputs = inputs.contiguous(memory_format=hardware.memory_format(config))
            result = network(inputs)[: stop - start].to("cpu")
            if outputs is None:
                outputs = torch.empty((n, *result.shape[1:]), dtype=result.dtype)
            outputs[start - rows.start : stop - rows.start] = result
            now = time.monotonic()
            if now - said > 3:
                said = now
                done = stop - rows.start
                log.info("  %s: %d of %d images, %.0f images/s", what, done, n, done / (now - began))
    assert outputs is not None, "no inputs"
    # autograd refuses tensors made in inference mode; a copy made outside of it may be trained on
    return outputs.clone() if outputs.is_inference() else outputs


def images_per_batch(side: int, device: torch.device) -> int:
    """The batch size for images of ``side`` pixels, when nothing has to be kept for a backward pass.

    On a CPU, layers are fastest while their activations fit into its cache. With images of 96 px, EfficientNet-Lite0
    processed 1,116 images/s in batches of 32, 869 in batches of 64 and 598 in batches of 128 (2 cores).
    """
    if device.type == "cuda":
        return 256
    return max(4, min(64, 300_000 // side**2))


class FeatureStore:
    """Rows of features on disk under one key; with ``folder`` None nothing is kept."""

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder = None if folder is None else folder / "features" / key

    def read(self, wanted: set[str]) -> tuple[dict[str, Tensor], float]:
        """The wanted rows that are on disk, by the digest of their image, and the seconds that computing them took."""
        rows: dict[str, Tensor] = {}
        seconds = 0.0
        if self.folder is None or not self.folder.is_dir():
            return rows, seconds
        for path in sorted(self.folder.glob("*.safetensors")):
            if len(rows) == len(wanted):
                break
            shard = _read_shard(path)
            if shard is None:
                log.warning("feature cache: %s is damaged and is not used; its rows are computed anew", path)
                continue
            ids, features, per_row = shard
            # Runs that overlapped may both have written a row. The first shard in the order of names counts, for the
            # row and for its seconds.
            found = {id_: row for row, id_ in enumerate(ids) if id_ in wanted and id_ not in rows}
            rows |= {id_: features[row] for id_, row in found.items()}
            seconds += per_row * len(found)
        return rows, seconds

    def write(self, ids: list[str], features: Tensor, seconds: float) -> None:
        """Add a shard. If the disk is full, a warning is logged and the run goes on without the cache.

        Args:
            ids: hexadecimal digests of the images, one per row.
            features: [n, ...].
            seconds: time to compute these rows.
        """
        from safetensors.torch import save_file

        if self.folder is None:
            return
        # uint8 [n, ID_BYTES]
        raw = torch.frombuffer(bytearray(bytes.fromhex("".join(ids))), dtype=torch.uint8)
        tensors = {"ids": raw.reshape(-1, ID_BYTES), "features": features.contiguous()}
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        try:
            with whole(self.folder / f"{_content(tensors)}.safetensors", size) as part:
                save_file(tensors, part, metadata={"seconds": repr(seconds)})
        except RunFailed as error:
            reason = str(error).rpartition(". Make room")[0]
            log.warning("feature cache: %s; the run goes on without it", reason)


def _content(tensors: dict[str, Tensor]) -> str:
    """The digest that a shard is named by; the seconds, which differ from run to run, are not in it."""
    return weights.digest(tensors)


def _read_shard(path: Path) -> tuple[list[str], Tensor, float] | None:
    """Ids, features and seconds per row; None if the file cannot be read or its content does not match its name."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in ("ids", "features")}
            seconds = float(file.metadata()["seconds"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if _content(tensors) != path.stem:
        return None
    hexed = tensors["ids"].numpy().tobytes().hex()
    width = 2 * ID_BYTES
    ids = [hexed[at : at + width] for at in range(0, len(hexed), width)]
    return ids, tensors["features"], seconds / max(len(ids), 1)


class Room:
    """A buffer for the features of a part of the data: in memory, or in a memory-mapped file.

    Of a mapped file the system keeps in memory what is being used, as far as there is room. The file has no name in its
    folder, so it disappears with the process, even if that is killed.

    Args:
        rows: number of rows.
        storage: ``memory``, ``mapped``, or ``auto``: in memory if that takes at most half of what is free.
    """

    def __init__(self, rows: int, storage: str) -> None:
        self.rows, self.storage = rows, storage
        self.made: Tensor | None = None

    def put(self, at: Tensor, features: Tensor) -> None:
        """Store features [n, ...] in the rows ``at`` [n]. The first call decides the shape of a row and its type."""
        if self.made is None:
            self.made = self._make(features)
        self.made[at] = features

    @property
    def tensor(self) -> Tensor:
        """All features [rows, ...]."""
        assert self.made is not None, "no images"
        return self.made

    def _make(self, like: Tensor) -> Tensor:
        """An empty buffer for rows like those of ``like``."""
        shape = (self.rows, *like.shape[1:])
        need = self.rows * like[0].numel() * like.element_size()
        if self.storage == "memory" or (self.storage == "auto" and need <= free_memory() / 2):
            return torch.empty(shape, dtype=like.dtype)
        log.info("%.2f GB of features are kept in a mapped file in %s", need / 1e9, tempfile.gettempdir())
        try:
            with tempfile.TemporaryFile() as file:
                # The room is taken now, which raises an error if there is too little. Otherwise the file would be
                # sparse, and a disk that is full at a later write would kill the process (SIGBUS).
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, need)  # a disk that fills up later would kill the process
                flat = torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=(need,)))
        except OSError as error:
            raise unwritten(Path(tempfile.gettempdir()), need, error) from error
        return flat.view(like.dtype).view(shape)


class Extractor:
    """The frozen prefix of a phase, which turns images into features, with its cache.

    Args:
        cut: the network split in two; the prefix runs with its batch norms folded into the convolutions.
        preprocess: turns uint8 images [n, 3, s, s] into the network's input, without randomness.
        identity: what decides the features besides the prefix: the network's name and arguments, the input transform.
        config: device, precision and workers.
        cache_dir: the folder of the cache, or None.
        kept: the precision that features are kept in, and whether in memory or in a mapped file.
    """

    def __init__(
        self,
        cut: cutting.Cut,
        preprocess: nn.Module,
        identity: dict[str, Any],
        config: "HardwareConfig",
        cache_dir: Path | None,
        kept: "FeaturesConfig | None" = None,
    ) -> None:
        import timm

        self.preprocess, self.config = preprocess.eval(), config
        self.dtype = None if kept is None else DTYPES.get(kept.dtype)  # None: the type that the prefix returns
        self.storage = "memory" if kept is None else kept.storage
        self.costs: dict[str, Extraction] = {}  # by part of the data
        self.prefix = cutting.folded(cut.prefix).to(memory_format=hardware.memory_format(config))
        # Only tensors that the prefix uses may count. A split at the head keeps the whole network in the prefix; the
        # head's weights are then in both halves. They change from run to run, the features do not.
        behind = {id(tensor) for tensor in [*cut.rest.parameters(), *cut.rest.buffers()]}
        state = {
            name: value for name, value in cut.prefix.state_dict(keep_vars=True).items() if id(value) not in behind
        }
        key = {
            "weights": weights.digest(state),
            # what the prefix does with its weights: where it ends, its layers with what no tensor shows (strides,
            # paddings, poolings), and the code of a traced prefix or the stages that are taken
            "at": cut.at,
            "layers": repr(cut.prefix),  # strides, paddings and poolings too
            "code": getattr(cut.prefix, "code", ""),
            "identity": identity,
            # rounding: a CPU and a GPU, or two versions of a library, differ in the last bits
            "precision": config.precision if self.dtype is None else f"{config.precision} kept as {self.dtype}",
            "device": config.accelerator,
            "versions": [__version__, torch.__version__, timm.__version__],
        }
        text = json.dumps(key, sort_keys=True, default=str)
        self.key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.store = FeatureStore(cache_dir, self.key)
        self.validation: Tensor | None = None

    def __call__(self, pixels: "Pixels", part: str) -> Tensor:
        """Features [n, ...] of every image, on the CPU: those on disk are read, the others are computed and written.

        Features of the part ``val`` are remembered, because a phase and its evaluation both need them. With several
        processes each computes a share, and all get all features.
        """
        if part == "val" and self.validation is not None:
            return self.validation
        features = self._read_or_compute(pixels, part)
        if part == "val":
            self.validation = features
        return features

    def _read_or_compute(self, pixels: "Pixels", part: str) -> Tensor:
        """Features [n, ...] in the order of the images, and their cost in ``costs``."""
        cost = self.costs[part] = Extraction()
        rows, seconds = self.store.read(set(pixels.ids))
        # the first row of each digest: of equal images only this one is computed
        first = {id_: row for row, id_ in reversed(list(enumerate(pixels.ids)))}
        missing = [row for row, id_ in enumerate(pixels.ids) if id_ not in rows and first[id_] == row]
        # All processes must share out the same rows. They may have seen different caches, because another run can write
        # in between: what one of them lacks is computed.
        if ranks.world() > 1:  # another run may have written between one process's look and another's
            lacking = set().union(*ranks.collected({pixels.ids[row] for row in missing}))
            missing = [row for row, id_ in enumerate(pixels.ids) if id_ in lacking and first[id_] == row]
        cost.reused, cost.computed = len(pixels.ids) - len(missing), len(missing)
        cost.seconds = cost.reused_seconds = seconds
        room = Room(len(pixels.ids), self.storage)
        present = [row for row, id_ in enumerate(pixels.ids) if id_ in rows]
        for block in torch.tensor(present).split(SHARD) if present else ():
            room.put(block, torch.stack([rows[pixels.ids[row]] for row in block]))
        for block in torch.tensor(missing).split(SHARD) if missing else ():
            began = time.monotonic()
            computed = self._compute(pixels, block, part)
            # images that were read before, when the data was checked: their time counts for the first who needs them
            reading, pixels.seconds = pixels.seconds, 0.0
            took = time.monotonic() - began + reading
            cost.seconds += took
            cost.earlier_seconds += reading
            if ranks.leads():
                self.store.write([pixels.ids[row] for row in block], computed, took)
            # all rows in one block: no second copy is needed
            if len(block) == len(pixels.ids) and self.storage != "mapped":
                return computed
            room.put(block, computed)
        # the other rows of equal images are copied from the first
        again = [row for row, id_ in enumerate(pixels.ids) if id_ not in rows and first[id_] != row]
        if again:
            room.put(torch.tensor(again), room.tensor[[first[pixels.ids[row]] for row in again]])
        return room.tensor

    def _compute(self, pixels: "Pixels", rows: Tensor, part: str) -> Tensor:
        """Features [len(rows), ...] of these rows of the images, each process computing a share."""
        device = next(self.prefix.parameters()).device
        size = images_per_batch(pixels.side, device)

        def features(mine: slice) -> Tensor:
            images = pixels.batches(rows[mine], size, workers=self.config.workers, pin=device.type == "cuda")

            def batch(start: int, stop: int) -> Tensor:
                return self.preprocess(next(images).to(device, non_blocking=True))

            return self._inferred(batch, mine, part, size)

        return ranks.shared(len(rows), features)

    def _inferred(self, batch: Callable[[int, int], Tensor], mine: slice, part: str, size: int) -> Tensor:
        """The prefix's outputs for the rows ``mine``, in the precision that features are kept in."""
        found = infer(self.prefix, batch, mine, self.config, f"features of {part} images", batch_size=size)
        return found if self.dtype is None else found.to(self.dtype)
