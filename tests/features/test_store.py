"""The cache of features: a torn or unfinished file is never read, and a cache that cannot be written costs no run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from features.extraction import extractor
from headstart.data.loader import Pixels
from headstart.features.store import FeatureStore


@pytest.mark.parametrize("harm", ["cut short", "one byte", "empty", "renamed"])
def test_a_damaged_file_is_never_read(
    harm: str, model: torch.nn.Module, pixels: Pixels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = extractor(model, tmp_path)[0](pixels, "test")
    (shard,) = tmp_path.rglob("*.safetensors")
    content = shard.read_bytes()
    if harm == "cut short":
        shard.write_bytes(content[: len(content) // 2])
    elif harm == "one byte":
        shard.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif harm == "empty":
        shard.write_bytes(b"")
    else:
        shard.rename(shard.with_name("0" * 32 + ".safetensors"))
    extract, _ = extractor(model, tmp_path)
    assert torch.equal(extract(pixels, "test"), expected)
    assert extract.costs["test"].computed == len(pixels)
    assert "damaged" in caplog.text


def test_a_file_being_written_is_not_seen(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "key")
    store.write(["0" * 32], torch.ones(1, 3), 1.0)
    (shard,) = tmp_path.rglob("*.safetensors")
    shard.rename(shard.with_name(".123.part"))
    assert store.read({"0" * 32}) == ({}, 0.0)


def test_a_cache_that_cannot_be_written_costs_the_cache_only(
    model: torch.nn.Module, pixels: Pixels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert len(extractor(model, blocked)[0](pixels, "test")) == len(pixels)
    assert "feature cache: cannot write" in caplog.text
