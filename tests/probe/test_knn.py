"""Nearest neighbours: votes counted by hand, and the same in pieces."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from headstart.probe import NearestNeighbours
from probe.problems import Rows


def test_neighbours_vote_as_counted_by_hand(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    val_x, val_y = val_x[:100], val_y[:100]
    fit = NearestNeighbours(k=[1, 7, 5000], temperature=0.1).fit(x, y, val_x, val_y, 10)
    near, bank = functional.normalize(val_x), functional.normalize(x)
    for row in fit.table:
        similar, rows = (near @ bank.T).topk(row["value"], dim=1)
        votes = torch.zeros(len(val_y), 10)
        for query in range(len(val_y)):
            for s, at in zip(similar[query], rows[query], strict=True):
                votes[query, y[at]] += float((s / 0.1).exp())
        assert row["val_accuracy"] == pytest.approx(float((votes.argmax(1) == val_y).float().mean()))
    assert [row["value"] for row in fit.table] == [600, 7, 1], "more than all is all"
    assert fit.chosen["val_accuracy"] == max(row["val_accuracy"] for row in fit.table)
    assert torch.allclose(fit.head(val_x).exp().sum(1), torch.ones(len(val_y)), atol=1e-5)


def test_neighbours_in_pieces_are_the_same(digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, val_x, val_y = digits
    for metric in ("cosine", "euclidean"):
        whole = NearestNeighbours(metric=metric).fit(x, y, val_x, val_y, 10)
        monkeypatch.setattr("headstart.probe.knn.ELEMENTS", 64 * 37)
        pieces = NearestNeighbours(metric=metric).fit(x, y, val_x, val_y, 10)
        monkeypatch.undo()
        assert torch.allclose(whole.head(val_x), pieces.head(val_x), atol=1e-4)
        assert whole.chosen["val_accuracy"] > 0.9
