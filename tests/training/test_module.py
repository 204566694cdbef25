"""What a phase's checkpoint holds besides weights."""

from __future__ import annotations

import numpy as np


def test_numpys_generator_goes_on_exactly_where_it_was_even_between_two_normal_deviates() -> None:
    from headstart.training.module import get_random_state, set_random_state

    np.random.seed(0)  # noqa: NPY002 timm's Mixup draws from it
    np.random.beta(2.0, 2.0)  # noqa: NPY002 above 1 it draws normal deviates, which come in pairs
    np.random.standard_normal()  # noqa: NPY002
    kept = get_random_state()
    expected = np.random.standard_normal(3)  # noqa: NPY002
    set_random_state(kept)
    assert np.random.standard_normal(3).tolist() == expected.tolist()  # noqa: NPY002
