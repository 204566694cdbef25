"""What is remembered of files: read once, read again when they change, never believed when damaged."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from headstart.data import digests
from headstart.data.digests import Contents
from headstart.errors import UserError


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Two hundred files that were last changed an hour ago."""
    made = [tmp_path / "set" / f"{at}.jpg" for at in range(200)]
    made[0].parent.mkdir()
    for at, path in enumerate(made):
        path.write_bytes(f"content {at}".encode())
        age(path)
    return [str(path) for path in made]


def age(path: Path, seconds: float = 3600) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose contents were read so far."""
    names: list[str] = []
    plainly = digests._read

    def counted(some: list[str]) -> list[tuple[bytes, bool]]:
        names.extend(Path(path).name for path in some)
        return plainly(some)

    monkeypatch.setattr(digests, "_read", counted)
    return names


def test_a_file_is_read_once(paths: list[str], read: list[str], tmp_path: Path) -> None:
    expected = [digest(f"content {at}") for at in range(200)]
    assert Contents(tmp_path / "cache").digests(paths[:150]) == expected[:150]
    assert sorted(read) == sorted(Path(path).name for path in paths[:150])
    read.clear()
    assert Contents(tmp_path / "cache").digests(paths[::-1]) == expected[::-1]
    assert len(read) == 50
    read.clear()
    assert Contents(tmp_path / "cache").digests(paths) == expected
    assert read == []
    assert Contents(None).digests(paths) == expected
    assert len(read) == 200


@pytest.mark.parametrize("change", ["time", "size", "replaced", "moved"])
def test_a_file_that_changed_is_read_again(change: str, paths: list[str], read: list[str], tmp_path: Path) -> None:
    Contents(tmp_path / "cache").digests(paths)
    read.clear()
    path = Path(paths[7])
    before = path.stat()
    if change == "time":
        path.write_bytes(b"CONTENT 7")
        age(path, 60)
    elif change == "size":
        path.write_bytes(b"content seven")
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    elif change == "replaced":  # of the same size, and with the same time
        other = path.with_name("other")
        other.write_bytes(b"CONTENT 7")
        os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
        other.replace(path)
    else:
        Path(paths[8]).replace(path)
        paths = [*paths[:8], *paths[9:]]
    meant = digest(path.read_text())
    assert Contents(tmp_path / "cache").digests(paths)[7] == meant
    assert read == ["7.jpg"]


def test_a_file_of_this_moment_is_not_remembered(paths: list[str], read: list[str], tmp_path: Path) -> None:
    """It may change again within the same tick of the file system's clock."""
    Path(paths[3]).write_bytes(b"new")
    for _ in range(2):
        Contents(tmp_path / "cache").digests(paths)
    assert read.count("3.jpg") == 2
    assert len(read) == 201


@pytest.mark.parametrize("harm", ["cut short", "one byte", "empty"])
def test_a_damaged_shard_is_not_believed(
    harm: str, paths: list[str], read: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = Contents(tmp_path / "cache").digests(paths)
    (shard,) = (tmp_path / "cache").rglob("*.rows")
    whole = shard.read_bytes()
    shard.write_bytes({"cut short": whole[:-32], "one byte": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b""}[harm])
    read.clear()
    assert Contents(tmp_path / "cache").digests(paths) == expected
    assert len(read) == 200
    assert f"{shard} is damaged and is not used" in caplog.text


def test_what_cannot_be_written_costs_the_memory_only(
    paths: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert Contents(tmp_path / "file").digests(paths)[1] == digest("content 1")
    assert "the next run reads its image files again: cannot write" in caplog.text


def test_shards_come_in_pieces_that_a_crash_can_cost(
    paths: list[str], read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(digests, "SHARD", 64)
    Path(paths[150]).unlink()
    Path(paths[150]).mkdir()  # its time and size can be had, its content cannot
    with pytest.raises(UserError, match=r"150\.jpg cannot be read: Is a directory"):
        Contents(tmp_path / "cache").digests(paths)
    assert "reading 200 of 200 image files" in caplog.text
    read.clear()
    Contents(tmp_path / "cache").digests([path for path in paths if "150" not in path])
    assert len(read) == 199 - 128
