"""What a data set holds, whatever the seed: a digest by which runs on other images under one name are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.data.splits import Part


def digest_listing(classes: Sequence[str], parts: Mapping[str, Part]) -> str:
    """A digest of the classes and of what every image of the source is known by, with its label, in no order.

    An image that no part uses counts too. It is known by its path, or by its content if it is no file (see
    `headstart.data.source.Split.stable_keys`), so no file is read.
    """
    splits = {id(part.split): part.split for part in parts.values()}.values()
    total = hashlib.blake2b(repr(tuple(classes)).encode(), digest_size=16)
    for split in splits:
        known = sorted(zip(split.stable_keys(), split.labels.tolist(), strict=True))
        total.update(repr(len(known)).encode())
        for key, label in known:
            total.update(len(key).to_bytes(4, "little") + key + int(label).to_bytes(8, "little", signed=True))
    return total.hexdigest()


def find_constant_parts(parts: Mapping[str, Part], folds: int | None) -> tuple[str, ...]:
    """The parts that together hold the same images for every seed and fold: all, if they use every image of the source.

    Else the test part, or none with folds, as each fold is tested on other images.
    """
    splits = {id(part.split): len(part.split) for part in parts.values()}
    if sum(map(len, parts.values())) == sum(splits.values()):
        return tuple(parts)
    return () if folds else ("test",)


def digest_content(listing: str, parts: Sequence[Part]) -> str:
    """A digest of a listing and of the content and label of every image of some parts, in no order.

    With the parts of `find_constant_parts` it is the same for every seed and fold. It reads no more than the run does:
    if images are left unused (`train_per_class`, …), a training image that was replaced by another of the same name is
    not noticed.
    """
    rows = sorted((id_, int(label)) for part in parts for id_, label in zip(part.ids, part.labels, strict=True))
    total = hashlib.blake2b(listing.encode(), digest_size=16)
    for id_, label in rows:
        total.update(bytes.fromhex(id_) + label.to_bytes(8, "little", signed=True))
    return total.hexdigest()
