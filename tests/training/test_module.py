"""The gradient of a step, and what a phase's checkpoint holds besides weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import fork_server
from headstart.training.module import get_random_state, set_random_state
from training.steps import by_lightning, by_plain_torch

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(("batch", "accumulate", "steps"), [(4, 1, 5), (4, 3, 2), (2, 8, 2), (8, 8, 1)])
def test_a_step_has_the_mean_gradient_of_its_images_also_where_the_last_batches_are_fewer_or_smaller(
    batch: int, accumulate: int, steps: int, tmp_path: Path
) -> None:
    expected = by_plain_torch(batch * accumulate)
    assert len(expected) == steps
    torch.testing.assert_close(by_lightning(tmp_path, batch, accumulate), expected)


def test_two_processes_have_the_gradients_of_one_also_where_they_have_unequal_numbers_of_images(tmp_path: Path) -> None:
    """The last batch has 3 images: 2 for the first process, 1 for the other."""
    ranks = [
        fork_server.start(
            before=f"import sys\nsys.path.insert(0, {str(TESTS)!r})\nfrom training import steps\n"
            f"steps.work_as_rank({str(tmp_path)!r}, {rank}, batch=2, accumulate=3)\nsys.exit(0)",
            env=dict(os.environ) | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            output=(1, 2),
        )
        for rank in range(2)
    ]
    assert [rank.wait(60) for rank in ranks] == [0, 0]
    expected = by_plain_torch(12)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / str(rank)), expected)


def test_numpys_generator_goes_on_exactly_where_it_was_even_between_two_normal_deviates() -> None:
    np.random.seed(0)  # noqa: NPY002 timm's Mixup draws from it
    np.random.beta(2.0, 2.0)  # noqa: NPY002 above 1 it draws normal deviates, which come in pairs
    np.random.standard_normal()  # noqa: NPY002
    kept = get_random_state()
    expected = np.random.standard_normal(3)  # noqa: NPY002
    set_random_state(kept)
    assert np.random.standard_normal(3).tolist() == expected.tolist()  # noqa: NPY002
