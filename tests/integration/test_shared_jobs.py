"""The jobs of a sweep share what is dear to make: their results are those of jobs that share nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.models import factory
from headstart.runtime import shared

FILES = ("predictions.csv", "predictions.npz", "checkpoints/best.safetensors", "probe.safetensors")


def read_run(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}


@pytest.mark.parametrize(
    "overrides",
    [
        ("strategy=feature_extraction",),
        pytest.param(("strategy=feature_extraction", "head=knn"), marks=pytest.mark.slow),
        ("strategy=feature_extraction", "head=ridge", "+head.probe.layers=[-3,-1]"),
        pytest.param(
            ("strategy=cached_views", "augment=standard", "strategy.phases.head.views=2"), marks=pytest.mark.slow
        ),
        pytest.param(("strategy=finetune", "epochs=1"), marks=pytest.mark.slow),
    ],
)
def test_jobs_that_share_have_the_results_of_jobs_that_do_not(
    overrides: tuple[str, ...], run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    create = factory.create
    monkeypatch.setattr(factory, "create", lambda *args, **options: built.append("") or create(*args, **options))
    alone = [run_small(*overrides, f"seed={seed}", "study=alone") for seed in (0, 1)]
    assert built == ["", ""]
    with shared.between_jobs():
        together = [run_small(*overrides, f"seed={seed}", "study=together") for seed in (1, 0)]
    assert len(built) == (4 if "strategy=finetune" in overrides else 3), "a network that learns is shared with nobody"
    for one, other in zip(alone, reversed(together), strict=True):
        assert read_run(one["folder"]) == read_run(other["folder"])
        assert len(read_run(one["folder"])) >= 3
        assert [one[key] for key in ("test", "val", "gmacs", "params")] == [
            other[key] for key in ("test", "val", "gmacs", "params")
        ]


def test_a_job_says_if_another_has_changed_the_network_that_they_share(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[Any] = []
    create = factory.create

    def keep(*args: Any, **options: Any) -> Any:
        model, notes = create(*args, **options)
        networks.append(model)
        return model, notes

    monkeypatch.setattr(factory, "create", keep)
    with shared.between_jobs():
        run_small("strategy=feature_extraction", "seed=0")
        with torch.no_grad():
            next(networks[0].parameters()).add_(1)
        with pytest.raises(AssertionError, match="phase head changed frozen tensors"):
            run_small("strategy=feature_extraction", "seed=1")
