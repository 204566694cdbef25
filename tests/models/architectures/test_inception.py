"""The Inception module: its four branches, whole and alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.models.architectures.inception import BRANCHES, Columns, Inception

COLUMNS = Columns(4, 3, 5, 2, 6, 7)
WIDTHS = {"1x1": 4, "3x3": 5, "5x5": 6, "pool": 7}


def test_the_branches_stand_side_by_side_in_the_tables_order() -> None:
    module = Inception(8, COLUMNS)
    x = torch.rand(2, 8, 9, 9)
    parts = module(x).split(list(WIDTHS.values()), 1)
    for part, name in zip(parts, WIDTHS, strict=True):
        assert torch.equal(part, module.branches[name](x))


@pytest.mark.parametrize(("name", "reach"), [("1x1", 0), ("3x3", 1), ("5x5", 2), ("pool", 1)])
def test_a_branch_sees_as_far_as_its_name_says(name: str, reach: int) -> None:
    module = Inception(8, COLUMNS, branches=name).double()
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.rand(1, 8, 9, 9, dtype=torch.double, requires_grad=True)
    y = module(x)
    assert y.shape == (1, WIDTHS[name], 9, 9)
    if name == "pool":  # whichever place holds the largest value: the gradient of all windows with the centre in them
        x = torch.zeros(1, 8, 9, 9, dtype=torch.double, requires_grad=True)
        y = module(x + torch.nn.functional.pad(torch.ones(1, 1), (4, 4, 4, 4)))
        seen = (y[0, 0] > y[0, 0].min()).nonzero()
    else:
        y[0, 0, 4, 4].backward()
        seen = x.grad[0, 0].nonzero()
    assert (seen - 4).abs().max() == reach
    assert len(seen) == (2 * reach + 1) ** 2


@pytest.mark.parametrize(
    ("branches", "names"), [("pool, 1x1", ("1x1", "pool")), (["5x5"], ("5x5",)), ("1x1,3x3,5x5,pool", BRANCHES)]
)
def test_branches_are_chosen_by_text_or_list(branches: str | list[str], names: tuple[str, ...]) -> None:
    module = Inception(8, COLUMNS, branches=branches)
    assert tuple(module.branches) == names
    assert module(torch.rand(1, 8, 4, 4)).shape[1] == module.outputs == sum(WIDTHS[name] for name in names)


@pytest.mark.parametrize("branches", ["", "7x7", "1x1,,3x3", []])
def test_a_branch_that_there_is_not_is_named(branches: str | list[str]) -> None:
    with pytest.raises(ValueError, match="name one or more of 1x1, 3x3, 5x5, pool"):
        Inception(8, COLUMNS, branches=branches)


def test_a_norm_takes_the_biases_place() -> None:
    for norm in (False, True):
        module = Inception(8, COLUMNS, kernel=3, norm=norm)
        convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
        assert [conv.bias is None for conv in convs] == [norm] * 6
        assert sum(isinstance(part, nn.BatchNorm2d) for part in module.modules()) == 6 * norm
        assert [conv.kernel_size[0] for conv in convs] == [1, 1, 3, 1, 3, 1]
