"""What is remembered of files: read once, read again when they change, never believed when damaged."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from headstart.data import digests
from headstart.data.digests import Contents


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two hundred files that were last changed long enough ago; no program can set the time of change to the past."""
    monkeypatch.setattr(digests, "SETTLED", -1e9)
    made = [tmp_path / "set" / f"{at}.jpg" for at in range(200)]
    made[0].parent.mkdir()
    for at, path in enumerate(made):
        path.write_bytes(f"content {at}".encode())
    return [str(path) for path in made]


def wait_for_the_clock(path: Path) -> None:
    """Wait until the file system's clock shows another time than when the file was changed."""
    other = path.with_name("clock")
    while not other.exists() or other.stat().st_ctime_ns == path.stat().st_ctime_ns:
        other.unlink(missing_ok=True)
        other.touch()
    other.unlink()


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


@pytest.mark.parametrize("change", ["time", "size", "replaced", "written", "moved"])
def test_a_file_that_changed_is_read_again(change: str, paths: list[str], read: list[str], tmp_path: Path) -> None:
    Contents(tmp_path / "cache").digests(paths)
    read.clear()
    path = Path(paths[7])
    before = path.stat()
    if change == "time":
        path.write_bytes(b"CONTENT 7")
        os.utime(path, (1, 1))
    elif change == "size":
        path.write_bytes(b"content seven")
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    elif change == "replaced":  # of the same size, and with the same time
        other = path.with_name("other")
        other.write_bytes(b"CONTENT 7")
        os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
        other.replace(path)
    elif change == "written":  # into the same inode, of the same size and with the same time, as unpacking again does
        wait_for_the_clock(path)
        path.write_bytes(b"CONTENT 7")
        os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    else:
        Path(paths[8]).replace(path)
        paths = [*paths[:8], *paths[9:]]
    meant = digest(path.read_text())
    assert Contents(tmp_path / "cache").digests(paths)[7] == meant
    assert read == ["7.jpg"]


def test_a_file_of_this_moment_is_not_remembered(
    paths: list[str], read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may change again within the same tick of the file system's clock, be its time set to the past or not."""
    Contents(tmp_path / "cache").digests([path for path in paths if not path.endswith("/3.jpg")])
    monkeypatch.setattr(digests, "SETTLED", 1e12)
    os.utime(paths[3], (1, 1))
    read.clear()
    for _ in range(2):
        Contents(tmp_path / "cache").digests(paths)
    assert read == ["3.jpg", "3.jpg"]


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
    plainly, done = digests._read, []

    def crash(some: list[str]) -> list[tuple[bytes, bool]]:
        if paths[150] in some:
            raise KeyboardInterrupt
        done.extend(some)
        return plainly(some)

    with monkeypatch.context() as patch:
        patch.setattr(digests, "_read", crash)
        with pytest.raises(KeyboardInterrupt):
            Contents(tmp_path / "cache").digests(paths)
    read.clear()
    Contents(tmp_path / "cache").digests(paths)
    assert len(read) == 200 - 128


def test_what_cannot_be_read_has_a_digest_of_its_path_which_is_not_remembered(paths: list[str], tmp_path: Path) -> None:
    Path(paths[150]).unlink()
    Path(paths[150]).mkdir()  # its time and size can be had, its content cannot
    Path(paths[151]).unlink()
    for _ in range(2):
        found = Contents(tmp_path / "cache").digests(paths)
        assert len(set(found)) == 200
        assert found[149] == digest("content 149")
    Path(paths[151]).write_text("content 151")
    assert Contents(tmp_path / "cache").digests(paths)[151] == digest("content 151")


def test_a_file_that_changed_after_its_digest_was_taken_is_noticed(paths: list[str]) -> None:
    contents = Contents(None)
    seven, eight, nine = paths[7:10]
    before = [found.hex() for found in contents.digests([seven, eight, nine])]
    os.utime(eight, (5, 5))  # only touched
    Path(seven).write_text("CONTENT 7")
    Path(nine).unlink()
    assert [contents.has_changed(path, was) for path, was in zip((seven, eight, nine), before, strict=True)] == [
        *(True, False, True)
    ]
    assert not contents.has_changed(paths[10], before[0])  # its digest was not asked for
