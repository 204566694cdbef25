"""What all figures share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from report.questions.figures import of_study


def test_seconds_are_those_of_a_cold_cache(write: Callable[..., Path], tmp_path: Path) -> None:
    from headstart.report.questions.figure import known

    write("feature_extraction", 0, 0.7, update={"seconds": {"total": 1.0, "features_reused": 3.0}})
    (row,) = of_study(tmp_path).groups
    assert known(row, "seconds").mean == 4
    assert known(row, "seconds.total").mean == 1
