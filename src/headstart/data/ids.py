"""Ids of images as they are kept in files: the digests of their contents, one after the other, sorted."""

from collections.abc import Iterable

ID_BYTES = 16


def pack_ids(ids: Iterable[str]) -> bytes:
    """Join ids (hex)."""
    return bytes.fromhex("".join(sorted(ids)))


def unpack_ids(content: bytes) -> set[str]:
    """The ids in what `pack_ids` returned."""
    return {content[at : at + ID_BYTES].hex() for at in range(0, len(content), ID_BYTES)}
