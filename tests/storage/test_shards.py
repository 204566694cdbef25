"""Shards: whole and sound, or left out with a warning; runs that write at once do not disturb each other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from headstart.features.store import Rows, RowsFormat
from headstart.storage.shards import Bytes, Shards

FULL = "it is not kept: {error}"


def shards(folder: Path, full: str = FULL) -> Shards[bytes]:
    return Shards(folder, Bytes(".raw"), damaged="{path} is damaged", full=full)


def features(folder: Path) -> Shards[Rows]:
    return Shards(folder, RowsFormat(), damaged="{path} is damaged", full=FULL)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow past `size` bytes: the system refuses as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_names_are_digests_that_caches_on_disk_already_have(tmp_path: Path) -> None:
    """The names and bytes that earlier versions wrote: caches stay of use."""
    shards(tmp_path).write(b"hello")
    features(tmp_path).write(Rows(torch.arange(16, dtype=torch.uint8).reshape(1, 16), torch.ones(1, 2), 0.5))
    assert {path.name for path in tmp_path.iterdir()} == {
        "46fb7408d4f285228f4af516ea25851b.raw",
        "df6daec2e795acd35b979e273b503a13.safetensors",
    }
    assert (tmp_path / "46fb7408d4f285228f4af516ea25851b.raw").read_bytes() == b"hello"


def test_contents_come_in_the_order_of_names_and_only_when_asked_for(tmp_path: Path) -> None:
    store = shards(tmp_path / "deep" / "folder")
    assert list(store.read()) == []
    for content in (b"one", b"two", b"three", b"one"):
        store.write(content)
    paths = sorted(store.folder.iterdir())
    assert [path.read_bytes() for path in paths] == list(store.read())
    assert len(paths) == 3  # the same content is the same file
    reading = store.read()
    next(reading)
    for path in paths[1:]:
        path.unlink()
    assert list(reading) == []  # a cache that somebody clears is no damage


@pytest.mark.parametrize("harm", ["cut short", "one byte", "empty", "renamed", "a folder"])
@pytest.mark.parametrize("kind", ["bytes", "features"])
def test_a_damaged_shard_is_left_out_with_a_warning(
    kind: str, harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "bytes":
        plain = shards(tmp_path)
        plain.write(b"sixteen bytes...")
        read = plain.read
    else:
        rows = features(tmp_path)
        rows.write(Rows(torch.zeros(1, 16, dtype=torch.uint8), torch.ones(1, 50), 1.0))
        read = rows.read
    assert len(list(read())) == 1
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    if harm == "renamed":
        path = path.rename(path.with_stem("0" * 32))
    elif harm == "a folder":
        path.unlink()
        path.mkdir()
    else:
        harmed = {"cut short": content[: len(content) // 2], "one byte": content[:-1] + b"x", "empty": b""}
        path.write_bytes(harmed[harm])
    assert list(read()) == []
    assert caplog.messages == [f"{path} is damaged"]


@pytest.mark.parametrize("metadata", [None, {}, {"seconds": "long"}])
def test_a_file_that_is_no_shard_is_damaged(
    metadata: dict[str, str] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import save_file

    save_file({"ids": torch.zeros(1), "features": torch.zeros(1)}, tmp_path / "a.safetensors", metadata=metadata)
    assert list(features(tmp_path).read()) == []
    assert "a.safetensors is damaged" in caplog.text


@pytest.mark.parametrize("kind", ["bytes", "features"])
def test_a_full_disk_costs_the_shard_only(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with room_for(300):
        if kind == "bytes":
            shards(tmp_path).write(b"x" * 1000)
        else:
            features(tmp_path).write(Rows(torch.zeros(1, 16, dtype=torch.uint8), torch.ones(1, 246), 1.0))
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages[0].startswith(f"it is not kept: cannot write {tmp_path}/")
    assert "(1000 bytes): " in caplog.text
    assert caplog.messages[0].endswith("Make room, or let output_dir and cache_dir name folders that can be written, "
                                       "and start the same command again")  # fmt: skip


def test_a_place_that_is_no_folder_costs_the_shard_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    store = shards(tmp_path / "file", full="{reason}; and on")
    assert list(store.read()) == []
    store.write(b"content")
    assert caplog.messages[0].endswith("; and on")
    assert "Make room" not in caplog.text


def write_many(folder: Path) -> None:
    logging.disable()
    for at in range(50):
        shards(folder).write(b"the same" if at % 2 else f"{at}".encode())


def test_processes_that_write_the_same_shards_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writers = [multiprocessing.get_context("fork").Process(target=write_many, args=(tmp_path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        list(shards(tmp_path).read())
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert sorted(shards(tmp_path).read()) == sorted([*(f"{at}".encode() for at in range(0, 50, 2)), b"the same"])
    assert caplog.messages == []
    assert len(list(tmp_path.iterdir())) == 26  # and nothing half-written is left


def write_rows(folder: Path) -> None:
    """As in one of several containers: each counts its processes from 1, so that all have the same number."""
    os.getpid = lambda: 1
    warnings: list[logging.LogRecord] = []
    logging.getLogger().handlers = []
    logging.getLogger("headstart.storage.shards").addFilter(lambda record: warnings.append(record) is not None)
    for at in range(12):
        features(folder).write(rows_of(at % 4))
    os._exit(len(warnings))


def rows_of(at: int) -> Rows:
    return Rows(torch.full((64, 16), at, dtype=torch.uint8), torch.full((64, 4096), float(at)), float(at))


def test_no_half_written_features_are_read_beside_eight_writers_of_one_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writers = [multiprocessing.get_context("fork").Process(target=write_rows, args=(tmp_path,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    looks = 0
    while any(writer.is_alive() for writer in writers):
        for rows in features(tmp_path).read():
            assert torch.equal(rows.features, rows_of(int(rows.seconds)).features)
            looks += 1
    assert looks
    assert [writer.exitcode for writer in writers] == [0] * 8, "each could write what it had"
    assert caplog.messages == [], "none was seen damaged"
    assert sorted(rows.seconds for rows in features(tmp_path).read()) == [0, 1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 4
