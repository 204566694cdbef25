"""Settings without effect on a run: trained with both values, nothing differs in any bit; so they are one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import compose
from headstart.config import effect, schema
from headstart.models import weights
from headstart.storage.identity import compute_identity

TINY = (
    "model=lenet5", "strategy.start=scratch", "data.image_size=32", "data.train_per_class=4", "data.n_test=40",
    "epochs=1", "cache_dir=null", "hardware=cpu", "hardware.threads=1", "logger=csv",
)  # fmt: skip
FITTED = (*TINY, "strategy=feature_extraction", "head=ridge")
# Gradient steps on features, which see no augmentation.
CACHED = (*TINY, "strategy=partial")
LIVE = (*TINY, "strategy=finetune")
# Each with a key of `effect.RULES`, and a value that is not the default.
CASES = (
    (FITTED, "optimizer", ("optimizer=sgd", "optimizer.lr=0.7")),
    (FITTED, "scheduler", ("scheduler=step",)),
    (FITTED, "epochs", ("epochs=3",)),
    (FITTED, "patience", ("patience=1",)),
    (FITTED, "select", ("select=val_loss",)),
    (FITTED, "data.batch_size", ("data.batch_size=5",)),
    (FITTED, "hardware.accumulate", ("hardware.accumulate=3",)),
    (FITTED, "hardware.clip", ("hardware.clip=0.001",)),
    (FITTED, "hardware.compile", ("hardware.compile=true",)),
    (FITTED, "label_smoothing", ("label_smoothing=0.3",)),
    ((*TINY, "strategy=feature_extraction", "head=knn"), "label_smoothing", ("label_smoothing=0.3",)),
    (FITTED, "augment.rotation", ("augment=strong",)),
    (CACHED, "augment.crop_scale", ("augment=strong", "augment.mixup=0.5", "augment.cutmix=0.5")),
    ((*LIVE, "strategy.phases.all.augment=false"), "augment.erasing", ("augment=strong",)),
    ((*LIVE, "strategy.phases.all.lr=0.02"), "optimizer.lr", ("optimizer.lr=0.5",)),
    ((*LIVE, "strategy.phases.all.weight_decay=0.1"), "optimizer.weight_decay", ("optimizer.weight_decay=0.7",)),
    (LIVE, "features.dtype", ("features.dtype=bfloat16",)),
)  # fmt: skip
# The same keys on runs that they do change.
EFFECTIVE = (
    (LIVE, ("optimizer.lr=0.5",)),
    (LIVE, ("epochs=2",)),
    (LIVE, ("data.batch_size=5",)),
    (LIVE, ("label_smoothing=0.3",)),
    (LIVE, ("augment=strong",)),
    (CACHED, ("features.dtype=bfloat16",)),
    (CACHED, ("optimizer.weight_decay=0.7",)),
    ((*TINY, "strategy=feature_extraction", "head=logistic"), ("label_smoothing=0.3",)),
    ((*TINY, "strategy=cached_views", "strategy.phases.head.views=2", "head=ridge"), ("augment=strong",)),
)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs a config in a folder of its own, each once: its weights and scores, and its identity."""
    from headstart import train

    known: dict[tuple[str, ...], tuple[Any, str]] = {}

    def run(*overrides: str) -> tuple[Any, str]:
        if overrides not in known:
            place: Path = tmp_path_factory.mktemp("run")
            result = train.run(compose(*overrides, f"output_dir={place}"), list(overrides))
            files = [path for name in (weights.FINAL, weights.PROBE) if (path := result.folder / name).is_file()]
            digests = [weights.digest_file(path) for path in files]
            answers = (result.folder / "predictions.csv").read_text()
            known[overrides] = (digests, result["test"], result["val"], answers), result["config_hash"]
        return known[overrides]

    return run


def equal(train: Any, base: tuple[str, ...], *change: str) -> None:
    (expected, before), (found, after) = train(*base), train(*base, *change)
    assert found == expected
    assert before == after, "they are one run"


def test_a_fitted_head_is_the_same_whatever_is_for_gradients(train: Any) -> None:
    """All keys at once; the next test has them one by one."""
    equal(train, FITTED, *(override for base, _, change in CASES if base == FITTED for override in change))


def test_an_unused_augmentation_changes_nothing(train: Any) -> None:
    equal(train, CACHED, "augment=strong", "augment.mixup=0.5", "augment.cutmix=0.5")


@pytest.mark.slow
@pytest.mark.parametrize(("base", "key", "change"), CASES)
def test_two_values_without_effect_give_one_result_to_the_bit(
    train: Any, base: tuple[str, ...], key: str, change: tuple[str, ...]
) -> None:
    assert key in find(base)
    equal(train, base, *change)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "change"), EFFECTIVE)
def test_what_has_an_effect_makes_another_run(train: Any, base: tuple[str, ...], change: tuple[str, ...]) -> None:
    (expected, before), (found, after) = train(*base), train(*base, *change)
    assert found != expected
    assert before != after


def test_a_key_with_an_effect_is_part_of_the_identity() -> None:
    second = ((*TINY, "strategy=head_then_all", "head=ridge"), ("augment=strong",))  # the phase after the fitted head
    for base, change in (*EFFECTIVE, second):
        both = [schema.to_plain(compose(*overrides)) for overrides in (base, (*base, *change))]
        assert compute_identity(both[0], {}) != compute_identity(both[1], {}), change


def find(overrides: tuple[str, ...]) -> dict[str, Any]:
    return effect.find_keys_without_effect(schema.to_plain(compose(*overrides)))


def test_every_rule_has_a_case() -> None:
    assert all(key in find(base) for base, key, _ in CASES)
    tried = {key for _, key, _ in CASES}
    assert all(tried & rule.instead.keys() for rule in effect.RULES)
    fitted = next(iter(effect.RULES)).instead.keys()
    assert fitted <= tried


def test_the_probes_that_do_not_smooth_are_named() -> None:
    from headstart import probe

    own = (probe.Logistic, probe.Ridge, probe.NearestNeighbours, probe.LinearHeads)
    assert tuple(f"headstart.probe.{kind.__name__}" for kind in own if not kind.smooths) == effect.UNSMOOTHED


def test_default_settings_keep_the_identity_that_they_had() -> None:
    """What counts in place of a value without effect is the default, so that older runs are still found."""
    for strategy in ("feature_extraction", "partial", "l2_sp", "finetune"):
        plain = schema.to_plain(compose(f"strategy={strategy}", "head=ridge"))
        assert effect.find_keys_without_effect(plain)
        assert effect.replace_what_has_no_effect(plain) == plain


def test_the_settings_that_differ_are_named() -> None:
    made, asked = (schema.to_plain(compose(*FITTED, f"optimizer.lr={lr}")) for lr in (0.1, 0.01))
    assert effect.describe_same_run(asked, made, "feature_extraction") == (
        "it is the same run, because optimizer.lr=0.01 (there: 0.1) has no effect on strategy=feature_extraction"
    )
    assert effect.describe_same_run(made, made, "feature_extraction") is None
