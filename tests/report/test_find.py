"""Which study is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart.errors import UserError
from report.studies import compared
from study_files import write_run


def test_unknown_study_names_those_that_exist(outputs: Path) -> None:
    for study in ("alpha", "demo", "zeta"):
        write_run(outputs, study=study)
    with pytest.raises(UserError, match="nearest name first: demo, alpha, zeta"):
        compared(outputs, "demmo")
    with pytest.raises(UserError, match="no study"):
        compared(outputs / "nowhere")


def test_default_is_the_most_recently_finished_study(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for when, study in enumerate(("late", "early", "unfinished")):
        folder = write_run(outputs, study=study)
        os.utime(folder / "result.json", (2e9 - when, 2e9 - when))
    (folder / "result.json").unlink()
    (outputs / "late" / ".hydra").mkdir()
    compared(outputs)
    assert "taking late, the most recently finished one" in capsys.readouterr().out
    assert (outputs / "late" / "report" / "summary.csv").is_file()
    assert not (outputs / "early" / "report").exists()
