"""Where features are kept while a run uses them."""

from __future__ import annotations

from pathlib import Path

import torch

from headstart.features.buffer import FeatureBuffer


def test_mapped_features_are_not_held_in_memory() -> None:
    room = FeatureBuffer(200_000, "mapped")
    before = anonymous_memory()
    for start in range(0, 200_000, 5_000):  # small pieces: the allocator may keep what an earlier test told it to keep
        room.put(torch.arange(start, start + 5_000), torch.full((5_000, 256), float(start)))
    assert room.tensor.shape == (200_000, 256)
    assert float(room.tensor[::50_000, 0].sum()) == 300_000
    assert anonymous_memory() - before < 0.5 * 200_000 * 256 * 4


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
