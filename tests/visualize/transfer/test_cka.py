"""The estimator of CKA, against its definition as a mean over quadruples of images."""

from itertools import permutations

import pytest
import torch

from headstart.visualize.transfer.cka import Alignment, compute_gram, estimate_hsic, split_rows


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def align(first: torch.Tensor, second: torch.Tensor, size: int = 64) -> float:
    found = Alignment()
    for rows in split_rows(len(first), size):
        found.add(compute_gram(first[rows]), compute_gram(second[rows]))
    value = found.compute()
    assert value is not None
    return value


def test_the_estimate_is_the_mean_over_all_quadruples() -> None:
    """Gretton et al. 2005: HSIC = E[k12 l12] + E[k12] E[l34] - 2 E[k12 l13]; without bias no index comes twice."""
    x, y = normal(7, 3, seed=0).double(), normal(7, 5, seed=1).double()
    k, l = x @ x.T, y @ y.T  # noqa: E741
    terms = [k[a, b] * (l[a, b] + l[c, d] - 2 * l[a, c]) for a, b, c, d in permutations(range(7), 4)]
    assert estimate_hsic(k, l) == pytest.approx(float(sum(terms)) / len(terms), rel=1e-9)
    # centred Gram matrices give the same: the estimate does not depend on where the origin is
    assert estimate_hsic(compute_gram(x + 3), compute_gram(y - 5)) == pytest.approx(estimate_hsic(k, l), rel=1e-4)


def test_a_network_with_itself_and_turned_and_scaled() -> None:
    x = normal(200, 16, 3, 3, seed=0)
    assert align(x, x) == pytest.approx(1, abs=1e-6)
    turn = torch.linalg.qr(normal(144, 144, seed=1)).Q
    assert align(x, 7 * x.flatten(1) @ turn) == pytest.approx(1, abs=1e-4)


def test_outputs_that_have_nothing_to_do_with_each_other() -> None:
    """With more dimensions than images the biased estimate would be near 1."""
    assert abs(align(normal(192, 2000, seed=0), normal(192, 2000, seed=1))) < 0.05


def test_batches_estimate_what_all_images_together_do() -> None:
    x = normal(640, 8, seed=0)
    y = x + normal(640, 8, seed=1)
    assert align(x, y) == pytest.approx(align(x, y, 640), abs=0.03)


def test_too_few_images_and_outputs_that_do_not_differ() -> None:
    assert split_rows(3, 64) == ()
    assert [len(rows) for rows in split_rows(65, 64)] == [33, 32]
    found = Alignment()
    found.add(compute_gram(torch.ones(8, 4)), compute_gram(normal(8, 4, seed=0)))
    assert found.compute() is None
