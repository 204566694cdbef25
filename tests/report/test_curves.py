"""Learning curves over phases."""

from __future__ import annotations

from pathlib import Path

from headstart.report.study.curves import read_curve
from report.studies import run_of
from study_files import write_run


def test_curves(tmp_path: Path) -> None:
    probe = read_curve(run_of(write_run(tmp_path, strategy="feature_extraction")))
    assert probe is not None
    assert probe.by_epoch == {}
    assert probe.probe is not None
    both = read_curve(run_of(write_run(tmp_path, strategy="head_then_all", epochs=4)))
    assert both is not None
    assert list(both.by_epoch) == [0, 1, 2, 3, 4]
    folder = write_run(tmp_path, strategy="gradual", epochs=3)
    lines = (folder / "metrics.csv").read_text().splitlines()
    again = [line.replace("main,", "second,") for line in lines[1:3]]
    (folder / "metrics.csv").write_text("\n".join([*lines, lines[3], *again]) + "\n")
    phases = read_curve(run_of(folder))
    assert phases is not None
    assert list(phases.by_epoch) == [1, 2, 3, 4, 5]
    assert phases.begins == [3]
    assert phases.by_epoch[4] == phases.by_epoch[1] == float(lines[1].split(",")[6])
