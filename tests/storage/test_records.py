"""Files of another version, or damaged ones, in a run's folder: told in words; and `rerun=true` then helps."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import compose
from headstart.errors import UserError
from headstart.storage import checkpoints, records
from headstart.storage.files import write_json

TINY = (
    "model=lenet5", "strategy=feature_extraction", "strategy.start=scratch", "head=ridge", "data.image_size=32",
    "data.train_per_class=4", "data.n_test=40", "hardware=cpu", "hardware.threads=1", "logger=csv",
)  # fmt: skip
GRADIENT = (*TINY, "strategy=finetune", "epochs=1", "checkpoint_every=0")
DAMAGED = {
    "truncated": '{"status": "comp',
    "no text": b"\xff\xfe\x00",
    "empty": "",
    "a list": "[]",
    "too deep": "[" * 100_000,
    "another type": '{"status": 5}',
}


def run(place: Path, *overrides: str) -> records.Result:
    from headstart import train

    return train.run(compose(*overrides, f"output_dir={place}"), list(overrides))


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def done(tmp_path: Path) -> records.Result:
    return run(tmp_path, *TINY)


@pytest.mark.parametrize("content", [*DAMAGED.values(), '{"attempts": "2"}', '{"done": {"a": 1}}', '{"done": [1]}'])
def test_a_damaged_state_is_no_empty_one(tmp_path: Path, content: str | bytes) -> None:
    write(tmp_path / "state.json", content)
    with pytest.raises(UserError, match=r"state\.json is damaged, or of another version .* rerun=true"):
        records.read_state(tmp_path)


@pytest.mark.parametrize("content", [*DAMAGED.values(), '{"test": {}}'])
def test_a_damaged_result_is_no_missing_one(tmp_path: Path, content: str | bytes) -> None:
    write(tmp_path / "result.json", content)
    with pytest.raises(UserError, match=r"result\.json is damaged, or of another version .* rerun=true"):
        records.read_result(tmp_path)


def test_what_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    assert records.read_state(tmp_path / "no") == {}
    assert records.read_result(tmp_path / "no") is None
    write(tmp_path / "file", "")
    assert records.read_result(tmp_path / "file") is None


def test_rerun_helps_against_each_damaged_file(done: records.Result, tmp_path: Path) -> None:
    """A result, a state and the curves that cannot be read: refused with the file's name, then run from the start."""
    folder, expected = done.folder, done["test"]
    curves = "phase,epoch,step\nhead,one,1\n"
    for damaged in ({"result.json": "{"}, {"state.json": '{"done": [1]}'}, {"metrics.csv": curves, "state.json": "{}"}):
        if "result.json" not in damaged:
            (folder / "result.json").unlink()
        for name, content in damaged.items():
            write(folder / name, content)
        for _ in range(2):  # the refusal leaves the files as they are
            with pytest.raises(UserError, match=rf"{next(iter(damaged))} is damaged.*rerun=true"):
                run(tmp_path, *TINY)
        assert run(tmp_path, *TINY, "rerun=true")["test"] == expected
        assert json.loads((folder / "state.json").read_text())["attempts"] == 1


@pytest.mark.parametrize("test", [None, {}, {"accuracy": None}, {"accuracy": "high"}, [0.5]])
def test_a_result_without_its_number_is_damaged(done: records.Result, tmp_path: Path, test: Any) -> None:
    write_json(done.folder / "result.json", done | {"test": test})
    with pytest.raises(UserError, match=r"result\.json is damaged.*it has no number test\.accuracy.*rerun=true"):
        run(tmp_path, *TINY)


def test_a_damaged_config_of_a_complete_run_is_told_and_the_run_skipped(
    done: records.Result, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for content in ("a: [", "5", "strategy: 3"):
        write(done.folder / "config.yaml", content)
        with caplog.at_level(logging.WARNING):
            assert run(tmp_path, *TINY) == done
        assert "config.yaml is damaged" in caplog.text
        caplog.clear()


def test_a_checkpoint_of_another_version_is_named_and_rerun_goes_on_without(tmp_path: Path) -> None:
    folder = run(tmp_path, *GRADIENT).folder
    (folder / "result.json").unlink()
    write_json(folder / "state.json", {"status": "interrupted", "done": []})
    for step, content in enumerate(({"written": "by others"}, {"best": {"facts": None}, "epoch": "first"})):
        path = checkpoints.write(folder / "checkpoints" / "all", step, content)
        for _ in range(2):
            with pytest.raises(UserError, match=rf"{path.name} is damaged, or of another version .* rerun=true"):
                run(tmp_path, *GRADIENT)
    assert run(tmp_path, *GRADIENT, "rerun=true")["status"] == "completed"


READ_ONLY = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99
shift
exec "$@"
"""


def test_a_complete_run_on_a_read_only_disk_is_skipped(done: records.Result, tmp_path: Path) -> None:
    """For real: the folder is mounted read-only, in a mount namespace of its own."""
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", READ_ONLY, "sh", str(tmp_path)]
    train = [sys.executable, "-m", "headstart", "train", "-m", *TINY, "seed=0,1", f"output_dir={tmp_path}"]
    try:
        shown = subprocess.run([*command, *train], capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if shown.returncode == 99 or "unshare" in shown.stderr:
        pytest.skip(f"no mount namespaces here: {shown.stderr}")
    said = shown.stdout + shown.stderr
    assert f"{done.folder} is complete" in said
    assert said.count("cannot be written: its completed runs are skipped") == 1
    assert shown.returncode == 2
    assert "Read-only file system" in said
    assert "1 of 2 jobs failed" in said
    assert not list(tmp_path.glob("runs/*-s1-*"))
