"""Bad values are named with what is allowed, all at once."""

from __future__ import annotations

import pytest

from conftest import compose
from headstart.errors import UserError


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.lr=-1", "optimizer.lr=-1: must be a number above 0"),
        ("optimizer.weight_decay=-1", "weight_decay"),
        ("data.n_train=0", "data.n_train=0: must be at least 2"),
        ("data.train_fraction=1.5", "at most 1"),
        ("data.val_fraction=0", "above 0"),
        ("data.val_fraction=1", "below 1"),
        ("data.n_train=100", "train_per_class and n_train"),
        ("data.folds=5", "-m data.folds=5 data.fold=0,1,2,3,4"),
        ("data.folds=1 data.fold=0", "data.folds=1: must be from 2"),
        ("data.fold=2", "Set data.folds too"),
        ("data.folds=3 data.fold=3", "it must be from 0 to 2"),
        ("data.group=regex:", "must be the name of a table's column, or regex: and a pattern"),
        ('data.group="regex:p(\\d"', "data.group=regex:p(\\d: the pattern is no regular expression"),
        ("seed=-1", "seed=-1"),
        ("epochs=0", "epochs=0: must be at least 1; strategy=feature_extraction fits a head without epochs"),
        (
            "strategy=head_then_all strategy.phases.all.epochs=0",
            "all.epochs=0: must be at least 1; '~strategy.phases.all' leaves the phase out",
        ),
        ("hardware.precision=fp8", "one of auto, 32, bf16, 16"),
        ("hardware.accelerator=cup", "did you mean cpu?"),
        ("strategy.start=pretraind", "did you mean pretrained?"),
        ("model.weights=none", "starts from pretrained weights"),
        ("strategy.phases.head.epochs=3", "not both"),
        ("strategy.phases.head.rates.backbone=0.1", "a probe fits the head alone"),
        ("+strategy.phases.head.rates.dpeth=1", "unknown selector"),
        (
            "strategy=gradual_unfreeze epochs=10 scheduler=warmup_cosine",
            "use scheduler.warmup_epochs=1, or more epochs",
        ),
        ("strategy=finetune epochs=1 scheduler=warmup_cosine", "use scheduler=cosine, or more epochs"),
        ("augment.flip=true", "data.flip=false"),
        ("augment.crop_scale=[0.5,2]", "larger than the image"),
        ("strategy.phases.head.statistics=frosen", "one of live, frozen"),
        ("strategy.phases.head.average=0.9", "leave average out"),
        ("strategy.phases.head.cache=false", "leave cache out"),
        ("patience=0", "patience=0: must be at least 1"),
        ("study=../up", "folder's name"),
        ("hardware.devices=0", "or -1 for all of them"),
    ],
)
def test_what_is_wrong_is_named(override: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(*override.split())
    assert words in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        compose("optimizer.lr=-1", "epochs=0", "data.val_fraction=2")
    assert "3 problems" in str(caught.value)
    assert all(key in str(caught.value) for key in ("optimizer.lr", "epochs", "data.val_fraction"))


def test_run_level_keys_are_closed() -> None:
    from hydra.errors import HydraException

    for typo in (
        "epoch=3",
        "+epoch=3",
        "+strategy.rats=1",
        "model.nmae=x",
        "seed=abc",
        "+hardware.prcision=32",
    ):
        with pytest.raises((HydraException, UserError)):
            compose(typo)
    with pytest.raises(UserError, match=r"did you mean hardware\.precision"):
        compose("+hardware.prcision=32")


@pytest.mark.parametrize("options", [["hardware.tune=false"], ["hardware.tune=true", "hardware.precision=32"]])
def test_allowing_what_nothing_makes_use_of_is_an_error(options: list[str]) -> None:
    with pytest.raises(UserError, match=r"hardware\.allow_bf16=true: .* hardware\.tune=true"):
        compose("hardware.allow_bf16=true", *options)
