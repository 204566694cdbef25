"""Rows of features on disk, in the shards of `headstart.storage.shards`.

In an entry, shards hold rows, each under the digest of its image. Splits, subsets and the order of images are not in
the key, so another split, more images or a second study only compute the images that are new.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headstart.models import weights
from headstart.storage.shards import Shards

ID_BYTES = 16  # length of an image's digest


@dataclass(frozen=True)
class Rows:
    """What a shard holds."""

    ids: Tensor  # uint8 [n, ID_BYTES]
    features: Tensor  # [n, ...]
    seconds: float  # that computing them took

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {"ids": self.ids, "features": self.features}

    def names(self) -> list[str]:
        """The digests of the images, in hexadecimal."""
        hexed, width = self.ids.numpy().tobytes().hex(), 2 * ID_BYTES
        return [hexed[at : at + width] for at in range(0, len(hexed), width)]


class RowsFormat:
    """Safetensors files; the seconds stand in their metadata."""

    suffix = ".safetensors"

    def digest(self, content: Rows) -> str:
        return weights.digest_tensors(content.tensors)  # without the seconds, which differ from run to run

    def size(self, content: Rows) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in content.tensors.values())

    def save(self, content: Rows, path: Path) -> None:
        from safetensors.torch import save_file

        save_file(content.tensors, path, metadata={"seconds": repr(content.seconds)})

    def load(self, path: Path) -> Rows:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                return Rows(
                    file.get_tensor("ids"), file.get_tensor("features"), float((file.metadata() or {})["seconds"])
                )
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path} is no shard of features: {error}") from error


class FeatureStore:
    """Rows of features on disk under one key; with ``folder`` None nothing is kept."""

    def __init__(self, folder: Path | None, key: str) -> None:
        self._shards = None
        if folder is not None:
            self._shards = Shards(
                folder / "features" / key,
                RowsFormat(),
                damaged="feature cache: {path} is damaged and is not used; its rows are computed anew",
                full="feature cache: {reason}; the run goes on without it",
            )

    def read(self, wanted: set[str]) -> tuple[dict[str, Tensor], float]:
        """The wanted rows that are on disk, by the digest of their image, and the seconds that computing them took."""
        rows: dict[str, Tensor] = {}
        seconds = 0.0
        for shard in self._shards.read() if self._shards is not None and wanted else ():
            # Runs that overlapped may both have written a row. The first shard in the order of names counts, for the
            # row and for its seconds.
            names = shard.names()
            found = {id_: row for row, id_ in enumerate(names) if id_ in wanted and id_ not in rows}
            rows |= {id_: shard.features[row] for id_, row in found.items()}
            seconds += shard.seconds / max(len(names), 1) * len(found)
            if len(rows) == len(wanted):
                break
        return rows, seconds

    def write(self, ids: list[str], features: Tensor, seconds: float) -> None:
        """Add a shard. If the disk is full, a warning is logged and the run goes on without the cache.

        Args:
            ids: hexadecimal digests of the images, one per row.
            features: [n, ...].
            seconds: time to compute these rows.
        """
        if self._shards is not None:
            raw = torch.frombuffer(bytearray(bytes.fromhex("".join(ids))), dtype=torch.uint8)
            self._shards.write(Rows(raw.reshape(-1, ID_BYTES), features.contiguous(), seconds))
