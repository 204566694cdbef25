"""The fixed keys of a config."""

from __future__ import annotations

from conftest import compose
from headstart.config import schema


def test_flat_keys_are_fixed() -> None:
    one = schema.to_flat(compose())
    two = schema.to_flat(
        compose("model=vgg16", "strategy=head_then_all", "optimizer=sgd", "scheduler=step", "data=cifar10")
    )
    assert list(one) == list(two)
    assert one["optimizer.lr"] == 0.001
    assert two["optimizer._target_"] == "torch.optim.SGD"
    assert all(value is None or isinstance(value, str | int | float | bool) for value in (one | two).values())
