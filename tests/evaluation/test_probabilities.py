"""predictions.npz: every probability of the test and validation images, readable without pickle."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.evaluation.probabilities import save_probabilities


def test_the_file_has_names_labels_and_probabilities_of_each_part(tmp_path: Path) -> None:
    logits = torch.randn(3, 2, dtype=torch.float64)
    parts = {
        "test": (["ä/1.png", "b"], torch.tensor([1, 0]), logits[:2]),
        "val": (["c"], torch.tensor([1]), logits[2:]),
    }
    save_probabilities(tmp_path / "p.npz", parts, ("cat", "a dog"))
    with np.load(tmp_path / "p.npz", allow_pickle=False) as kept:
        assert kept["classes"].tolist() == ["cat", "a dog"]
        assert kept["test_names"].tolist() == ["ä/1.png", "b"]
        assert kept["test_labels"].tolist() == [1, 0]
        assert kept["val_probabilities"].dtype == np.float32
        found = np.concatenate([kept["test_probabilities"], kept["val_probabilities"]])
    np.testing.assert_allclose(found, logits.softmax(1), rtol=1e-6)


def test_scores_that_are_no_probabilities_are_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        parts = {"test": (["a"], torch.tensor([0]), torch.zeros(1, 2))}
        save_probabilities(tmp_path / "p.npz", parts, "ab", probabilities=False)
    assert "predictions.npz is not written: the fitted head gives scores that are no probabilities" in caplog.text
    assert not list(tmp_path.iterdir())
