"""The images that a run's weights have seen: written with the run, and found in another run's test part."""

from pathlib import Path

import numpy as np
import pytest

from conftest import compose
from data.images import part_of
from headstart.data import seen


def parts() -> dict:
    whole = part_of(*(np.full((2, 2), value, np.uint8) for value in range(4)))
    return {"train": whole.at(np.array([0, 1])), "val": whole.at(np.array([2])), "test": whole.at(np.array([1, 3]))}


def test_what_was_seen_is_remembered_with_what_was_seen_before(tmp_path: Path) -> None:
    found = parts()
    seen.write_seen(tmp_path, found, {"ab" * 16})
    assert seen.read_seen(tmp_path) == {"ab" * 16, *found["train"].ids, *found["val"].ids}
    assert seen.read_seen(None) == seen.read_seen(tmp_path / "gone") == set()


def test_seen_test_images_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, start = parts(), (f"model.weights=run:{tmp_path}", "strategy=finetune")
    seen.write_seen(tmp_path, found, {found["test"].ids[1]})
    assert seen.find_seen(found["test"], "none") == set()
    assert caplog.text == ""
    assert seen.find_seen(found["test"], compose(*start).model.weights) == seen.read_seen(tmp_path)
    assert f"model.weights=run:{tmp_path}: 2 of 2 test images stand in what that run was trained" in caplog.text
    assert caplog.text.count("train[3]") == caplog.text.count("train[1]") == 1
    caplog.clear()
    seen.find_seen(found["val"].at(np.array([], dtype=int)), compose(*start).model.weights)
    assert caplog.text == ""


def test_a_damaged_list_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / seen.NAME).write_bytes(bytes(17))
    assert seen.read_seen(tmp_path) == set()
    assert "seen.ids is damaged" in caplog.text
