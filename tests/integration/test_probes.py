"""Probes in whole runs: heads kept beside the network are written, restored and tested, or refused in time."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import SMALL, check_components, compose
from headstart import train
from headstart.cli import explain
from headstart.errors import UserError
from headstart.evaluation.evaluate import Evaluation
from headstart.features.buffer import FeatureBuffer
from headstart.models import weights
from headstart.preflight.components import Components
from headstart.probe import base

PROBE = "strategy.phases.head.probe"
BASE = ("model=efficientnet_lite0", "strategy=feature_extraction", "data.train_per_class=8")
BESIDE = {
    "neighbours": (f"{PROBE}._target_=headstart.probe.NearestNeighbours",),
    "layers": (f"{PROBE}._target_=headstart.probe.LinearHeads", f"+{PROBE}.layers=[-1,-2]", f"+{PROBE}.poolings=[avg]"),
}


@pytest.mark.parametrize("kind", ["neighbours", pytest.param("layers", marks=pytest.mark.slow)])
def test_a_head_beside_the_network_is_restored_when_its_run_goes_on(
    kind: str, run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    def cut(*_: Any) -> None:
        raise Cut

    options = (*BASE, *BESIDE[kind])
    with monkeypatch.context() as patch:
        patch.setattr(train, "finish_run", cut)
        with pytest.raises(Cut):
            run_small(*options)
    fits = []
    monkeypatch.setattr("headstart.training.head.fit_head", lambda *_: fits.append(1))
    result = run_small(*options)
    assert not fits, "the phase was finished, so it is not fitted again"
    assert (result["folder"] / weights.PROBE).is_file()
    assert result["test"]["accuracy"] > 0.5
    assert result["test"]["nll"] is not None
    assert result["params"]["trainable"] == (0 if kind == "neighbours" else result["params"]["trainable"])
    monkeypatch.undo()
    again = run_small(*options, "rerun=true")
    assert again["test"] == result["test"]


def test_a_damaged_head_is_fitted_again(run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch) -> None:
    options = (*BASE, *BESIDE["neighbours"])
    first = run_small(*options)
    (first["folder"] / "result.json").unlink()
    path = first["folder"] / weights.PROBE
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    monkeypatch.setattr("headstart.storage.runs.Run.begin", lambda *_, **__: None)  # as after a crash
    assert run_small(*options)["test"] == first["test"]


def test_the_network_of_such_a_run_starts_another_with_a_new_head(
    run_small: Callable[..., dict], caplog: pytest.LogCaptureFixture
) -> None:
    first = run_small(*BASE, *BESIDE["neighbours"])
    caplog.set_level("INFO")
    second = run_small(*BASE, f"model.weights=run:{first['folder']}")
    assert "a probe in its own file (probe.safetensors), which is not used" in caplog.text
    assert "head replaced" in caplog.text
    assert second["test"]["accuracy"] > 0.5


@pytest.mark.slow
def test_other_images_go_through_the_probe_too(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a measure sees live is what the test saw through cached features."""
    seen = {}
    original = Evaluation.time_logits

    def watched(self: Evaluation, pixels: Any, part: str) -> Any:
        scores, speed = original(self, pixels, part)
        seen["live"], seen["cached"] = self.compute_uncached_logits(pixels), scores
        return scores, speed

    monkeypatch.setattr(Evaluation, "time_logits", watched)
    for precision, options in product(("32", "bf16"), (*BESIDE.values(), ())):
        run_small(*BASE, *options, f"hardware.precision={precision}")
        assert (seen["live"].argmax(1) == seen["cached"].argmax(1)).float().mean() >= 0.95
        assert (seen["live"] - seen["cached"]).abs().mean() < 0.05 * seen["cached"].std()


def test_a_phase_after_a_head_beside_the_network_is_refused_before_any_data_is_read() -> None:
    config = compose(*SMALL, "strategy=head_then_all", f"{PROBE}._target_=headstart.probe.NearestNeighbours")
    (problem,) = Components().find_problems(config)
    assert problem.startswith("strategy.phases.head.probe: its head cannot replace the network's own head")
    assert "all cannot start from it" in problem
    bad = compose(*SMALL, "strategy=feature_extraction", f"+{PROBE}.grid=[-1]")
    with pytest.raises(UserError, match=r"strategy.phases.head.probe.grid: needs one or more numbers above 0"):
        check_components(bad)


def test_a_refit_is_refused_where_a_later_phase_validates_on_its_images() -> None:
    config = compose(*SMALL, "strategy=head_then_all", f"+{PROBE}.refit=true")
    (problem,) = Components().find_problems(config)
    assert problem.startswith("strategy.phases.head.probe.refit=true: all validates on the images")


def test_a_refitted_head_reports_what_it_was_chosen_by(run_small: Callable[..., dict]) -> None:
    options = (*BASE, f"{PROBE}._target_=headstart.probe.LinearHeads", f"+{PROBE}.weight_decays=[0.001,0.1]")
    plain, again = (run_small(*options, f"+{PROBE}.refit={word}") for word in ("false", "true"))
    assert again["test"] != plain["test"]
    assert again["val"]["accuracy"] == plain["val"]["accuracy"]
    assert again["val"]["nll"] == pytest.approx(plain["val"]["nll"], abs=1e-4)
    assert again["val"]["ece"] is None, "never measured before the refit"
    assert again["phases"][0]["weight_decay"] in (0.001, 0.1)


def test_features_are_computed_again_by_other_versions_of_what_makes_them(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grey digits are resized by Pillow, and their views drawn by kornia; no JPEG file is decoded."""
    network = ("model=timm", "model.name=test_resnet", "model.weights=none", "strategy=cached_views")
    options = (*network, "strategy.start=scratch", "strategy.phases.head.views=2", "augment=standard", "rerun=true")
    assert not run_small(*options)["cached"]
    for changed, cached in (("simplejpeg", True), ("pillow", False), ("kornia", False)):
        with monkeypatch.context() as patch:
            for module in ("data.reader", "features.views"):
                patch.setattr(
                    f"headstart.{module}.version",
                    lambda name, changed=changed: "0" if name == changed else metadata.version(name),
                )
            assert run_small(*options)["cached"] == cached, changed


def test_views_are_gathered_in_a_mapped_file_where_asked_for(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered = []

    def room(rows: int, storage: str) -> FeatureBuffer:
        gathered.append(FeatureBuffer(rows, storage))
        return gathered[-1]

    monkeypatch.setattr("headstart.features.views.FeatureBuffer", room)
    options = (BASE[0], "strategy=cached_views", "augment=standard", "data.train_per_class=5", "rerun=true")
    held, mapped = (run_small(*options, f"features.storage={storage}") for storage in ("memory", "mapped"))
    assert mapped["test"] == held["test"]
    assert [each.storage for each in gathered] == ["memory", "mapped"]
    assert torch.equal(gathered[0].tensor, gathered[1].tensor)
    views = gathered[0].tensor.view(-1, 8, gathered[0].tensor.shape[1])
    assert len(views) == held["n_train"]
    assert not torch.equal(views[:, 0], views[:, 1]), "each its own"
    first, second = torch.nn.functional.normalize(views - views.mean((0, 1)), dim=2)[:, :2].unbind(1)
    nearest = (first @ second.T).argmax(1)
    assert (nearest == torch.arange(len(views))).float().mean() > 0.5, "both of one image"


def test_stages_that_a_network_does_not_offer_are_refused_before_any_data_is_read(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "prepare_data", lambda *_: pytest.fail("data were read"))
    with pytest.raises(UserError, match=r"probe.layers=\[7\]: .* has 5 stages"):
        run_small(*BASE, f"+{PROBE}.layers=[7]")


def test_a_probe_is_refused_of_a_head_that_is_more_than_a_layer() -> None:
    config = compose("model=timm", "model.name=repvit_m0_9", "strategy=feature_extraction", "strategy.start=scratch")
    with pytest.raises(UserError, match=r"RepVit cannot be split before a head of one layer.*probe=null .*epochs=10"):
        explain._outline_rows(config)


@pytest.mark.parametrize("strategy", ["feature_extraction", "partial"])
def test_features_in_half_the_bits_feed_heads_in_all(strategy: str, run_small: Callable[..., dict]) -> None:
    options = ("model=efficientnet_lite0", f"strategy={strategy}", "epochs=1", "hardware.precision=32")
    whole, half = (run_small(*options, f"features.dtype={name}") for name in ("float32", "bfloat16"))
    assert half["test"]["accuracy"] == pytest.approx(whole["test"]["accuracy"], abs=0.1)
    assert half["test"]["nll"] != whole["test"]["nll"]


def test_a_fitted_head_is_tested_as_it_was_chosen_whatever_the_precision(run_small: Callable[..., dict]) -> None:
    result = run_small("model=efficientnet_lite0", "strategy=feature_extraction", "hardware.precision=bf16")
    assert result["val"]["nll"] == pytest.approx(result["phases"][0]["val_nll"], abs=1e-6)


@pytest.mark.parametrize(("head", "copies"), [("logistic", 3), ("knn", 1)])
def test_a_refit_is_told_how_many_views_an_image_has(
    head: str, copies: int, run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = base._join_weights
    monkeypatch.setattr(base, "_join_weights", lambda *told: seen.append(told[1]) or original(*told))
    run_small(
        "model=timm", "model.name=test_resnet", "model.weights=none", "strategy=cached_views", "strategy.start=scratch",
        "strategy.phases.head.views=3", f"head={head}", "+head.probe.refit=true",
    )  # fmt: skip
    assert seen == [copies]
