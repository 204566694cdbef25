"""Published accuracies with their source, and what nothing beats."""

from __future__ import annotations

from pathlib import Path

from headstart.zoo import rows, tables
from zoo.networks import made, read


def test_accuracies_are_published_ones_with_their_source_and_sort_unknown_last(folder: Path) -> None:
    table = read((folder / "zoo.csv").read_text("utf-8"))
    assert list(table) == ["resnet34", "resnet18", "mobilenetv3_small_050"]
    assert float(table["resnet18"]["top1"]) == 73.158
    assert table["resnet18"]["source"].startswith("timm's results")
    assert table["resnet18"]["weights"] == "a1_in1k"
    assert table["resnet18"]["weights_here"] == "no", "no weights are in the caches of a test"
    assert "weights a1_in1k: timm's recipe A1" in table["resnet18"]["note"]
    assert "measured at 288 px" in table["resnet18"]["note"]


def test_the_frontier_is_what_nothing_beats() -> None:
    given = [made("slow", 80.0, 9.0), made("quick", 70.0, 1.0), made("beaten", 69.0, 2.0), made("same", 80.0, 10.0)]
    given += [made("unknown", None, 0.5), made("tie", 65.0, 1.0), made("untimed", 99.0, None)]
    assert [row.model for row in rows.frontier(given, "ms_cpu")] == ["quick", "slow"]
    assert [row.model for row in rows.sort_rows(given, "ms_cpu")][-1] == "untimed"
    assert [row.model for row in rows.sort_rows(given, "top1")][:2] == ["untimed", "slow"]
    assert "quick, slow" in tables.describe_frontiers(given)[0]
