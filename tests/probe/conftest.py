"""For all tests of probes: the digits' 64 pixels as rows of features, and one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from probe.problems import Rows


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Of numpy too: scikit-learn's solvers wait for each other's threads, 20 times as long where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> Rows:
    """600 training and 400 validation rows of 64 pixels, with an offset that centring and folding must undo."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).float() / 4 + 3
    y = torch.from_numpy(labels).long()
    return x[:600], y[:600], x[600:1000], y[600:1000]
