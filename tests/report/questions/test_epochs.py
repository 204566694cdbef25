"""What happens by epoch."""

from __future__ import annotations

from pathlib import Path

from headstart.report import questions
from report.questions.figures import of_study
from study_files import write_run


def test_a_fitted_head_before_the_epochs_is_none_of_them(tmp_path: Path) -> None:
    """Its row of metrics.csv has accuracies and no epoch."""
    for seed in range(2):
        write_run(tmp_path, "study", "head_then_all", seed, epochs=8)
    charts, _ = questions.Errors("x", ["strategy"]).charts(of_study(tmp_path))
    assert [[point["x"] for point in chart.datasets["points"]] for chart in charts] == [list(range(8))] * 2
