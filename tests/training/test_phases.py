"""The score by which the best epoch is chosen, in real runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import compose
from headstart.config.schema import to_plain
from headstart.errors import UserError
from headstart.storage.identity import compute_identity
from headstart.training.best import BestWeights

LIVE = ("model=lenet5", "strategy=scratch", "data.train_per_class=6", "data.val_fraction=0.5", "hardware.threads=1")


@pytest.mark.parametrize("select", ["val_f1", "val_auroc"])
def test_the_epoch_is_kept_that_is_best_by_what_select_names(
    select: str, run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its score is the one in result.json."""
    offered: list[tuple[float, int]] = []
    offer = BestWeights.offer

    def look(best: BestWeights, epoch: int, checked: dict[str, float]) -> None:
        offered.append((checked[select], -epoch))
        offer(best, epoch, checked)

    monkeypatch.setattr(BestWeights, "offer", look)
    result = run_small(*LIVE, f"select={select}", "epochs=5", "optimizer.lr=0.003")
    best, epoch = max(offered)
    assert len({score for score, _ in offered}) > 2
    assert result["phases"][0]["best_epoch"] == -epoch
    assert result["val"][select.removeprefix("val_")] == pytest.approx(best, abs=1e-6)


def test_select_makes_another_run_of_a_fitted_head() -> None:
    """Its value is chosen by it."""
    plain, chosen = (
        to_plain(compose("strategy=feature_extraction", *more)) for more in ((), ("select=val_balanced_accuracy",))
    )
    assert compute_identity(plain, {}) != compute_identity(chosen, {})


def test_a_fitted_head_is_chosen_by_it_and_keeps_its_score(run_small: Callable[..., dict]) -> None:
    result = run_small(*LIVE, "strategy=feature_extraction", "strategy.start=scratch", "select=val_f1", "head=ridge")
    assert result["phases"][0]["val_f1"] == pytest.approx(result["val"]["f1"])
    assert not (result["folder"] / "predictions.npz").exists(), "ridge gives no probabilities"


def test_an_auroc_that_is_not_defined_is_refused_before_anything_is_trained(
    run_small: Callable[..., dict], tmp_path: Path
) -> None:
    from data.images import picture

    for part, names in {"train": "abc", "val": "ab", "test": "abc"}.items():
        for name in "abc":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(3 if name in names else 0):
                picture(i + 10 * ord(name)).save(tmp_path / part / name / f"{part}{i}.png")
    options = ("model=lenet5", "strategy=scratch", "data=image_folder", f"data.source.root={tmp_path}")
    cut = ("data.train_per_class=null", "data.n_test=null", "data.image_size=32")
    with pytest.raises(UserError, match=r"select=val_auroc: needs a validation image of every class.*none: c"):
        run_small(*options, *cut, "select=val_auroc")
