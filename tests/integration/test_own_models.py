"""Every architecture of headstart's own goes through every mechanism of the strategies, with no special case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SIDES = {  # one network a family, and a size of images that it can see
    "lenet5": 32,
    "alexnet_small": 64,
    "googlenet": 64,
    "resnet20_cifar": 32,
    "plain20_cifar": 32,
    "shake_shake_26_2x32d": 32,
    "stacked_kernels": 32,
    "vgg_small": 64,
    "densenet_bc_100_12": 32,
    "efficientnet_small": 64,
    "nasnet_mobile": 64,
}
ARGS = {"densenet_bc_100_12": ("+model.args.depth=22",)}  # three layers a block in place of sixteen
# One run goes through all of them: a head fitted on features, then the last blocks trained by gradient on the features
# of the frozen ones below, then everything on images.
PHASES = "tail: {epochs: 1, rates: {head: 1, depth1: 1, backbone: null}}, all: {epochs: 1, rates: {all: 1}}"


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_an_own_model_goes_through(name: str, run_small: Callable[..., dict]) -> None:
    result = run_small(
        f"model={name}", "model.weights=none", "strategy=feature_extraction", "strategy.start=scratch",
        f"data.image_size={SIDES[name]}", "augment=none", f"+strategy.phases={{{PHASES}}}",
        *ARGS.get(name, ()),
    )  # fmt: skip
    assert result["status"] == "completed"
    assert [phase["kind"] for phase in result["phases"]] == ["probe", "features", "images"]
    assert 0 <= result["test"]["accuracy"] <= 1
