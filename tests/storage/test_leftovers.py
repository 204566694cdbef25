"""What can be deleted is found by name in its place; nobody else's file is touched, no link is followed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from headstart.storage import leftovers

DIGEST = "0123456789abcdef" * 2


def write(path: Path, size: int = 10, days: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    then = time.time() - days * leftovers.DAY
    os.utime(path, (then, then))
    return path


def make_run(folder: Path, complete: bool = True) -> Path:
    """A run's folder with everything that may lie in it."""
    for name in ("best.safetensors", "head/best.safetensors", "all/best.safetensors", "all/mine.txt"):
        write(folder / "checkpoints" / name)
    write(folder / "checkpoints/all/step-00000012-0123456789abcdef.ckpt", 1000)
    for name in ("probe.safetensors", "predictions.csv", "state.json", ".lock", ".hidden"):
        write(folder / name)
    write(folder / ".predictions.csv.123")
    write(folder / "checkpoints/all/.step-00000013.77")
    if complete:
        (folder / "result.json").write_text(json.dumps({"status": "completed", "test": {}}))
    return folder


def names(found: list[leftovers.Leftover], folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for leftover in found for path in leftover.files}


def test_the_checkpoints_of_a_completed_run_alone(tmp_path: Path) -> None:
    assert leftovers.find_checkpoints(make_run(tmp_path / "cut", complete=False)) == []
    run = make_run(tmp_path / "run")
    found = leftovers.find_checkpoints(run)
    phases = {"checkpoints/all/best.safetensors", "checkpoints/head/best.safetensors"}
    assert names(found, run) == phases | {"checkpoints/all/step-00000012-0123456789abcdef.ckpt"}
    before = {path for path in run.rglob("*") if path.is_file()}
    assert leftovers.delete(found) == sum(leftover.size for leftover in found) == 1020
    gone = before - {path for path in run.rglob("*") if path.is_file()}
    assert {str(path.relative_to(run)) for path in gone} == names(found, run)
    assert not (run / "checkpoints/head").exists(), "it was empty"
    assert (run / "checkpoints/all/mine.txt").exists()


@pytest.mark.parametrize("complete", [True, False])
def test_half_written_files_of_any_run(complete: bool, tmp_path: Path) -> None:
    run = make_run(tmp_path, complete)
    found = leftovers.find_half_written(run)
    assert names(found, run) == {".predictions.csv.123", "checkpoints/all/.step-00000013.77"}


def test_a_cache_is_known_by_its_names(tmp_path: Path) -> None:
    mine = ("features/notes.txt", "images/holiday.jpg", "images/2024/holiday.jpg", "other/x.rows", f"{DIGEST}.rows")
    for name in mine:
        write(tmp_path / name)
    ours = (f"features/key/{DIGEST}.safetensors", f"images/contents/{DIGEST}.rows", f"tune/{DIGEST[:16]}.json")
    for name in ours:
        write(tmp_path / name, days=3)
    write(tmp_path / f"features/key/.{DIGEST}.safetensors.42")  # perhaps still being written
    old = write(tmp_path / f"features/key/.{DIGEST}.safetensors.43", days=2)
    found = leftovers.find_cached(tmp_path)
    assert names(found, tmp_path) == {*ours, str(old.relative_to(tmp_path))}
    assert [round(leftover.age / leftovers.DAY) for leftover in found] == [3, 2, 3, 3]
    leftovers.delete(found)
    assert all((tmp_path / name).exists() for name in mine)
    assert not (tmp_path / "tune").exists()
    assert (tmp_path / f"features/key/.{DIGEST}.safetensors.42").exists()


def test_no_link_is_followed_or_deleted(tmp_path: Path) -> None:
    outside = make_run(tmp_path / "outside")
    run = tmp_path / "run"
    write(run / "checkpoints/best.safetensors")
    (run / "result.json").write_text('{"status": "completed"}')
    (run / "checkpoints/all").symlink_to(outside / "checkpoints/all")
    (run / "checkpoints/head").mkdir()
    (run / "checkpoints/head/best.safetensors").symlink_to(outside / "checkpoints/head/best.safetensors")
    (run / ".state.json.5").symlink_to(outside / "state.json")
    assert leftovers.find_checkpoints(run) == leftovers.find_half_written(run) == []
    write(tmp_path / f"cached/key/{DIGEST}.rows")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/features").symlink_to(tmp_path / "cached")
    assert leftovers.find_cached(tmp_path / "cache") == []
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/result.json").write_text('{"status": "completed"}')
    (tmp_path / "linked/checkpoints").symlink_to(outside / "checkpoints")
    assert leftovers.find_checkpoints(tmp_path / "linked") == []
