"""Training's multiply-adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.report.study.columns import is_lower_bound, training_gmacs
from report.studies import looked_at


def test_training_macs_count_backward_passes(study: Path) -> None:
    comparison, _ = looked_at(study)
    for group in comparison.groups:
        for run in group.runs:
            result = run.result
            each, forwards = result["gmacs"], result["backbone_forwards"] - result["n_test"]
            back = 2 * result["epochs"] * result["n_train"] if run.strategy in ("finetune", "scratch") else 0
            assert training_gmacs(run) == pytest.approx(each * (forwards + back))
            assert is_lower_bound(run) == (run.strategy == "last_layers")
