"""The record of a finished phase in `state.json`, and when it is not used."""

from dataclasses import replace
from pathlib import Path

import pytest

from headstart.training.outcome import Outcome, read_outcome

HEAD = Outcome(phase="head", kind="probe", cut_at="head", seconds=2.0)


@pytest.fixture
def best(tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_record_gives_the_outcome_and_the_time_that_it_took(best: Path) -> None:
    assert read_outcome(HEAD.record(best), best, best.parent / "none") == replace(HEAD, earlier_seconds=2.0)


def test_a_record_whose_weights_are_damaged_is_not_used(best: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = HEAD.record(best)
    best.write_bytes(b"weight")
    assert read_outcome(record, best, best.parent / "none") is None
    assert "best.safetensors is damaged or missing" in caplog.text


@pytest.mark.parametrize("change", [{"surplus": 1}, {"kind": None}])
def test_a_record_of_another_version_is_not_used(
    change: dict[str, object], best: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = {name: value for name, value in (HEAD.record(best) | change).items() if value is not None}
    record |= {"probe_digest": None} if "surplus" in change else {}
    assert read_outcome(record, best, best.parent / "none") is None
    assert "phase head was recorded by another version of headstart" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": "2"},
        {"epochs": None},
        {"extractions": []},
        {"extractions": {"train": {"seconds": 1.0}}},
        {"extractions": {"train": 5}},
        {"details": "none"},
        {"weights": None},
    ],
)
def test_a_record_of_other_types_is_not_used(
    change: dict[str, object], best: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_outcome(HEAD.record(best) | change, best, best.parent / "none") is None
    assert "its record in state.json is damaged: it is fitted again" in caplog.text
