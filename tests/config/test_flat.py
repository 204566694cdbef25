"""The settings of a run as dashboards get them: fixed keys without dots, nothing null."""

from __future__ import annotations

import dataclasses

from conftest import compose
from headstart.config import flat
from headstart.config.schema import DataConfig, RunConfig

OTHER = ("model=vgg16", "strategy=head_then_all", "optimizer=sgd", "scheduler=step", "data=cifar10", "augment=none")


def test_every_run_has_the_same_keys_without_dots_and_never_null() -> None:
    one, two = flat.flatten(compose()), flat.flatten(compose(*OTHER))
    assert list(one) == list(two)
    assert not [key for key in one if "." in key]
    assert all(isinstance(value, str | int | float | bool) for value in (*one.values(), *two.values()))


def test_what_people_filter_by_has_a_key_of_its_own() -> None:
    one, two = flat.flatten(compose()), flat.flatten(compose(*OTHER))
    wanted = {
        "strategy": ("feature_extraction", "head_then_all"),
        "model": ("tf_efficientnet_lite0", "vgg16"),
        "n_per_class": (10, "all"),
        "lr": (0.001, 0.01),
        "momentum": ("none", 0.9),
        "seed": (0, 0),
        "optimizer": ("AdamW", "SGD"),
        "scheduler": ("cosine", "step"),
        "source": ("digits", "torchvision"),
        "phases": ("head", "head > all"),
        "probe": ("Logistic", "Logistic"),
        "crop": ("0.7-1", "1-1"),
    }
    assert {key: (one[key], two[key]) for key in wanted} == wanted


def test_two_settings_never_share_a_key() -> None:
    """Each leaf of the config that is not left out has a key of its own."""
    paths = [f"data.{item.name}" for item in dataclasses.fields(DataConfig)]
    paths += [item.name for item in dataclasses.fields(RunConfig)]
    names = [flat.SHORT.get(path, path.replace(".", "_")) for path in paths]
    assert len(set(names) - {"data"}) == len([name for name in names if name != "data"])
