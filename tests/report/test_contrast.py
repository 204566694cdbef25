"""Which two rows are looked at class by class."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headstart.cli.compare import main
from headstart.errors import UserError
from report.studies import table


def test_between_picks_two_rows(study: Path, tmp_path: Path) -> None:
    outputs = shutil.copytree(study, tmp_path / "outputs")
    assert main(["demo", "--output-dir", str(outputs), "--no-plots", "--between", "scratch", "ridge"]) == 0
    assert {(row["row"], row["against"]) for row in table(outputs, "changed.csv")} == {("scratch", "ridge")}
    with pytest.raises(UserError, match=r"no row is called 'ridg'. Did you mean 'ridge'\? Rows: "):
        main(["demo", "--output-dir", str(outputs), "--no-plots", "--between", "scratch", "ridg"])
    with pytest.raises(UserError, match="not two rows of one task"):
        main(["demo", "--output-dir", str(outputs), "--no-plots", "--between", "ridge", "ridge"])
