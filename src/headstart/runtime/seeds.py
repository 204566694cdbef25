"""Seeds that depend on names and numbers alone, so that a resumed run draws what the uninterrupted one would have."""

import hashlib


def seed_of(*parts: int | str) -> int:
    """A generator's seed, below 2^56: a digest of ``parts``, such as (seed, phase, epoch)."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
