"""Every architecture of headstart's own goes through every mechanism of the strategies, with no special case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

SIDES = {  # one network a family, and a size of images that it can see
    "lenet5": 32,
    "alexnet": 64,
    "googlenet": 64,
    "resnet20_cifar": 32,
    "plain20_cifar": 32,
    "shake_shake_26_2x32d": 32,
    "stacked_kernels": 32,
    "vgg_scaled": 64,
    "densenet_bc_100_12": 32,
    "efficientnet_scaled": 64,
    "nasnet_mobile": 64,
}
PREFIX = (
    "augment=none", "strategy=finetune", "~strategy.phases.all.rates.backbone",
    "+strategy.phases.all.rates.depth1=1", "+strategy.phases.all.rates.backbone=null",
)  # fmt: skip
MECHANISMS = {
    "live": (("strategy=finetune",), ["images"]),
    "probe on features": (("strategy=feature_extraction",), ["probe"]),
    "cut prefix": (PREFIX, ["features"]),
    "several phases": (("strategy=head_then_all",), ["probe", "images"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("name", SIDES)
def test_an_own_model_goes_through(name: str, mechanism: str, run_small: Callable[..., dict]) -> None:
    options, kinds = MECHANISMS[mechanism]
    result = run_small(
        f"model={name}", "model.weights=none", "strategy.start=scratch", f"data.image_size={SIDES[name]}", "epochs=1",
        *options,
    )  # fmt: skip
    assert result["status"] == "completed"
    assert [phase["kind"] for phase in result["phases"]] == kinds
    assert 0 <= result["test"]["accuracy"] <= 1
