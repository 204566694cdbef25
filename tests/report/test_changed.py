"""Images that changed verdict between two rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.report.stats.contrast import verdicts
from report.studies import answered, read_results, table


def test_changed_images_add_up_to_the_difference_of_accuracies(study: Path) -> None:
    runs = read_results(study)
    rows = table(study, "changed.csv")
    pairs = {(row["row"], row["against"]) for row in rows}
    assert len(pairs) == 2
    for pair in pairs:
        listed = [row for row in rows if (row["row"], row["against"]) == pair]
        means = [np.mean([runs[strategy, seed]["test"]["accuracy"] for seed in range(3)]) for strategy in pair]
        assert sum(float(row["change"]) for row in listed) / 400 == pytest.approx(means[0] - means[1])
        changes = [abs(float(row["change"])) for row in listed]
        assert changes == sorted(changes, reverse=True)
        assert min(changes) > 0
        first = listed[0]
        said = [runs[pair[0], seed]["rows"][int(first["index"])]["predicted"] for seed in range(3)]
        assert first["name"] == f"test[{first['index']}]"
        assert float(first["right_row"]) == pytest.approx(said.count(first["label"]) / 3)
        assert said.count(first["predicted_row"]) == max(said.count(one) for one in said)


def test_the_class_that_most_seeds_say() -> None:
    one = [answered([2, 2, 2], said, [0.5] * 3) for said in ([1, 2, 0], [2, 1, 0], [2, 0, 1])]
    other = [answered([2, 2, 2], [2, 0, 2], [0.5] * 3) for _ in range(3)]
    pair: Any = type("Pair", (), {"runs": list(zip(one, other, strict=True))})()
    found = verdicts(pair)
    assert found is not None
    assert found.said[0].tolist() == [2, 0, 0]
    assert (found.one.tolist(), found.other.tolist()) == ([2, 1, 0], [3, 0, 3])
    assert (found.gained, found.lost, found.turned) == (1, 2, (0, 1))
    assert found.order() == [2, 1, 0]
