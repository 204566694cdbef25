"""Objectives are what their names say, for a picture and for real images alike."""

from __future__ import annotations

import torch

from headstart.visualize.features.objectives import (
    excite_channels,
    excite_direction,
    excite_layer,
    excite_neurons,
    measure_likeness,
)

MAPS = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))


def test_channels_neurons_and_layers() -> None:
    torch.testing.assert_close(excite_channels([2, 0])(MAPS), torch.stack([MAPS[:, 2], MAPS[:, 0]], 1).mean((2, 3)))
    torch.testing.assert_close(excite_neurons([1])(MAPS)[:, 0], MAPS[:, 1, 2, 2])
    torch.testing.assert_close(excite_layer()(MAPS)[:, 0], MAPS.square().mean((1, 2, 3)))


def test_a_direction_prefers_what_agrees_with_it_to_what_is_large() -> None:
    direction = torch.tensor([1.0, 0.0])
    pure, mixed = (torch.tensor(each).view(1, 2, 1, 1) for each in ([1.0, 0.0], [1.2, 3.0]))
    score = excite_direction(5 * direction)
    assert float(score(pure)) == 1
    assert float(score(mixed)) < 1


def test_likeness_is_one_for_copies_and_less_for_other_images() -> None:
    twins = MAPS[[0, 0, 1, 1]]
    torch.testing.assert_close(measure_likeness(twins, 2), torch.ones(2))
    assert float(measure_likeness(MAPS[:2], 2)) < 0.99
    # where channels are active does not matter, only which are so together
    torch.testing.assert_close(measure_likeness(torch.stack([MAPS[0], MAPS[0].flip(1)]), 2), torch.ones(1))
