"""Rows of features on disk: shards, each named by the digest of its content.

In an entry, shards hold rows, each under the digest of its image. Splits, subsets and the order of images are not in
the key, so another split, more images or a second study only compute the images that are new.

A shard is written under another name, flushed to disk and renamed. Its name is the digest of its content: runs that
write at the same time do not disturb each other, and a shard that is cut short or damaged is recognised and not used.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor

from headstart.errors import RunFailed
from headstart.models import weights
from headstart.storage.files import write_whole

log = logging.getLogger(__name__)


ID_BYTES = 16  # length of an image's digest


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
            with write_whole(self.folder / f"{_content(tensors)}.safetensors", size) as part:
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
