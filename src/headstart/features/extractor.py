"""Features of a frozen prefix: computed once per image, kept on disk, shared by every run that asks for the same.

A cache entry is a folder named by everything that decides the numbers: the prefix's weights and code, the input
transform, the precision and the library versions. In it, shards hold rows keyed by the image's own digest, so another
split, more images or a second study only compute what is new. A shard is written beside its place, flushed and
renamed; its name is the digest of its content, so a torn or damaged one is never read.
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

from headstart import __version__
from headstart.distributed import comm
from headstart.errors import RunFailed
from headstart.models import weights
from headstart.models.split import NetworkSplit, fold_batch_norms
from headstart.runtime import hardware
from headstart.runtime.memory import free_memory
from headstart.storage.files import cannot_write, write_whole

if TYPE_CHECKING:
    from headstart.config.schema import FeaturesConfig, HardwareConfig
    from headstart.context import Context
    from headstart.data.loader import Pixels

log = logging.getLogger(__name__)

ID_BYTES = 16
SHARD = 16_384  # rows that are written together: what a crash in a long extraction can cost
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Extraction:
    """What getting the features of a run cost."""

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
        """Images that the prefix saw, in this run or another."""
        return self.computed + self.reused


def run_inference(
    network: nn.Module,
    batch: Callable[[int, int], Tensor],
    rows: slice,
    config: "HardwareConfig",
    what: str,
    *,
    batch_size: int,
) -> Tensor:
    """``network`` over the inputs ``rows`` in eval and inference mode; returns its outputs [n, ...] on the CPU.

    Args:
        rows: a row's outputs do not depend on which rows come with it: kernels are chosen by a batch's size, so the
            last batch is filled up. Whatever was cached before, and on however many processes, they are the same.
        batch: ``batch(start, stop)`` gives the inputs of those rows, on any device.
        what: named in the progress lines, one every few seconds.
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
    return outputs.clone() if outputs.is_inference() else outputs


def images_per_batch(side: int, device: torch.device) -> int:
    """How many images of ``side`` pixels go through a network at once, when nothing has to be kept for a backward pass.

    On a CPU, layers are fastest while their activations stay in its cache: at 96 px, EfficientNet-Lite0 took 1,116
    images/s by 32, 869 by 64, 598 by 128 (2 cores).
    """
    if device.type == "cuda":
        return 256
    return max(4, min(64, 300_000 // side**2))


class FeatureStore:
    """Rows of features on disk under one key; ``folder`` None keeps nothing."""

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder = None if folder is None else folder / "features" / key

    def read(self, wanted: set[str]) -> tuple[dict[str, Tensor], float]:
        """The wanted rows that are there, by image digest, and the seconds that computing them took."""
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
            found = {id_: row for row, id_ in enumerate(ids) if id_ in wanted and id_ not in rows}
            rows |= {id_: features[row] for id_, row in found.items()}
            seconds += per_row * len(found)
        return rows, seconds

    def write(self, ids: list[str], features: Tensor, seconds: float) -> None:
        """Add a shard; a full disk costs the cache, not the run."""
        from safetensors.torch import save_file

        if self.folder is None:
            return
        raw = torch.frombuffer(bytearray(bytes.fromhex("".join(ids))), dtype=torch.uint8)
        tensors = {"ids": raw.reshape(-1, ID_BYTES), "features": features.contiguous()}
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        try:
            with write_whole(self.folder / f"{_content(tensors)}.safetensors", size) as part:
                save_file(tensors, part, metadata={"seconds": repr(seconds)})
        except RunFailed as error:
            reason = str(error).rpartition(". Make room")[0]
            log.warning("feature cache: %s; the run goes on without it", reason)


def _content(tensors: dict[str, Tensor]) -> str:
    return weights.digest(tensors)


def _read_shard(path: Path) -> tuple[list[str], Tensor, float] | None:
    """Ids, features and seconds per row; None if the file is not what its name says."""
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
    """Where a part's features are gathered: in memory, or in a mapped file, of which the system holds what is used.

    The file has no name: it goes away with the process.
    """

    def __init__(self, rows: int, storage: str) -> None:
        self.rows, self.storage = rows, storage
        self.made: Tensor | None = None

    def put(self, at: Tensor, features: Tensor) -> None:
        """Put features [n, ...] at the rows ``at`` [n]."""
        if self.made is None:
            self.made = self._make(features)
        self.made[at] = features

    @property
    def tensor(self) -> Tensor:
        """Features [rows, ...]."""
        assert self.made is not None, "no images"
        return self.made

    def _make(self, like: Tensor) -> Tensor:
        shape = (self.rows, *like.shape[1:])
        need = self.rows * like[0].numel() * like.element_size()
        if self.storage == "memory" or (self.storage == "auto" and need <= free_memory() / 2):
            return torch.empty(shape, dtype=like.dtype)
        log.info("%.2f GB of features are kept in a mapped file in %s", need / 1e9, tempfile.gettempdir())
        try:
            with tempfile.TemporaryFile() as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, need)  # a disk that fills up later would kill the process
                flat = torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=(need,)))
        except OSError as error:
            raise cannot_write(Path(tempfile.gettempdir()), need, error) from error
        return flat.view(like.dtype).view(shape)


class Extractor:
    """The frozen prefix of a phase, ready to turn images into features.

    Args:
        split: where the network is cut; the prefix runs with its batch norms folded into the convolutions.
        preprocess: uint8 images [n, 3, s, s] to the network's input; deterministic.
        identity: what decides the features besides the prefix's tensors: the network and its arguments, the input
            transform.
        cache_dir: the cache's folder, or None.
        kept: the precision that features are kept in, and whether in memory.
    """

    def __init__(
        self,
        split: NetworkSplit,
        preprocess: nn.Module,
        identity: dict[str, Any],
        config: "HardwareConfig",
        cache_dir: Path | None,
        kept: "FeaturesConfig | None" = None,
    ) -> None:
        import timm

        self.preprocess, self.config = preprocess.eval(), config
        self.dtype = None if kept is None else DTYPES.get(kept.dtype)  # None: as the prefix puts them out
        self.storage = "memory" if kept is None else kept.storage
        self.costs: dict[str, Extraction] = {}  # by part of the data
        self.prefix = fold_batch_norms(split.prefix).to(memory_format=hardware.memory_format(config))
        behind = {id(tensor) for tensor in [*split.rest.parameters(), *split.rest.buffers()]}
        state = {
            name: value for name, value in split.prefix.state_dict(keep_vars=True).items() if id(value) not in behind
        }
        key = {
            "weights": weights.digest(state),
            "at": split.at,
            "layers": repr(split.prefix),  # strides, paddings and poolings too
            "code": getattr(split.prefix, "code", ""),
            "identity": identity,
            "precision": config.precision if self.dtype is None else f"{config.precision} kept as {self.dtype}",
            "device": config.accelerator,
            "versions": [__version__, torch.__version__, timm.__version__],
        }
        text = json.dumps(key, sort_keys=True, default=str)
        self.key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.store = FeatureStore(cache_dir, self.key)
        self.validation: Tensor | None = None

    def __call__(self, pixels: "Pixels", part: str) -> Tensor:
        """Features [n, ...] of every image, on the CPU: those on disk are read, the others computed and kept.

        Those of the part ``val``, which a phase and its evaluation both need, stay in memory. Of several processes each
        computes its share.
        """
        if part == "val" and self.validation is not None:
            return self.validation
        features = self._read_or_compute(pixels, part)
        if part == "val":
            self.validation = features
        return features

    def _read_or_compute(self, pixels: "Pixels", part: str) -> Tensor:
        cost = self.costs[part] = Extraction()
        rows, seconds = self.store.read(set(pixels.ids))
        first = {id_: row for row, id_ in reversed(list(enumerate(pixels.ids)))}  # equal images are computed once
        missing = [row for row, id_ in enumerate(pixels.ids) if id_ not in rows and first[id_] == row]
        if comm.world_size() > 1:  # another run may have written between one process's look and another's
            lacking = set().union(*comm.all_gather({pixels.ids[row] for row in missing}))
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
            reading = pixels.claim_reading_seconds()
            took = time.monotonic() - began + reading
            cost.seconds += took
            cost.earlier_seconds += reading
            if comm.is_first():
                self.store.write([pixels.ids[row] for row in block], computed, took)
            if len(block) == len(pixels.ids) and self.storage != "mapped":
                return computed
            room.put(block, computed)
        again = [row for row, id_ in enumerate(pixels.ids) if id_ not in rows and first[id_] != row]
        if again:
            room.put(torch.tensor(again), room.tensor[[first[pixels.ids[row]] for row in again]])
        return room.tensor

    def _compute(self, pixels: "Pixels", rows: Tensor, part: str) -> Tensor:
        device = next(self.prefix.parameters()).device
        size = images_per_batch(pixels.side, device)

        def features(mine: slice) -> Tensor:
            images = pixels.batches(rows[mine], size, workers=self.config.workers, pin=device.type == "cuda")

            def batch(start: int, stop: int) -> Tensor:
                return self.preprocess(next(images).to(device, non_blocking=True))

            return self._inferred(batch, mine, part, size)

        return comm.compute_in_shares(len(rows), features)

    def _inferred(self, batch: Callable[[int, int], Tensor], mine: slice, part: str, size: int) -> Tensor:
        found = run_inference(self.prefix, batch, mine, self.config, f"features of {part} images", batch_size=size)
        return found if self.dtype is None else found.to(self.dtype)


def open_extractor(context: "Context", split: NetworkSplit) -> Extractor:
    """The frozen prefix over this run's cache, with the weights that the network has now."""
    return Extractor(
        split,
        context.preprocess(),
        context.features_identity,
        context.config.hardware,
        context.config.cache,
        context.config.features,
    )
