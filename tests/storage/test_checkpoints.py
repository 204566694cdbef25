"""Checkpoints are what their names say, or are not used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart.errors import RunFailed, UserError
from headstart.storage import checkpoints


def state(value: float) -> dict[str, object]:
    return {"state_dict": {"weight": torch.full((100,), value)}, "loops": {"epoch": int(value)}}


def test_the_newest_two_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    written = [checkpoints.write(tmp_path, step, state(step)) for step in (9, 10, 100)]
    assert sorted(tmp_path.iterdir()) == written[1:]
    assert checkpoints.find_newest(tmp_path) == written[2]
    loaded = torch.load(written[2], weights_only=True)
    assert torch.equal(loaded["state_dict"]["weight"], torch.full((100,), 100.0))


@pytest.mark.parametrize("harm", ["cut short", "one bit", "empty", "another's content"])
def test_a_damaged_one_is_named_and_the_one_before_it_is_found(
    harm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, newest = (checkpoints.write(tmp_path, step, state(step)) for step in (1, 2))
    content = newest.read_bytes()
    harmed = {
        "cut short": content[:-10],
        "one bit": bytes([content[0] ^ 1]) + content[1:],
        "empty": b"",
        "another's content": before.read_bytes(),
    }
    newest.write_bytes(harmed[harm])
    assert checkpoints.find_newest(tmp_path) == before
    assert f"{newest} is damaged" in caplog.text


def test_none_is_found_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoints.find_newest(tmp_path / "nowhere") is None
    checkpoints.remove(tmp_path / "nowhere")


def test_what_does_not_read_back_as_it_was_written_is_an_error_and_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that says it has written and has not: after the flush the file is cut short."""
    before = checkpoints.write(tmp_path, 1, state(1))
    monkeypatch.setattr("os.fsync", lambda handle: __import__("os").truncate(handle, 50))
    with pytest.raises(RunFailed, match=r"cannot write the checkpoint .*step-00000002 \(\d+ bytes so far\): it reads"):
        checkpoints.write(tmp_path, 2, state(2))
    assert list(tmp_path.iterdir()) == [before]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "all").write_text("a file in the folder's place")
    with pytest.raises(RunFailed, match=r"cannot write the checkpoint .*all/step-00000001"):
        checkpoints.write(tmp_path / "all", 1, state(1))


def test_a_folder_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "phase").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="phase is a symbolic link to"):
        checkpoints.write(tmp_path / "phase", 1, {"a": 1})
    assert list((tmp_path / "elsewhere").iterdir()) == []
