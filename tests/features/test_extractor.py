"""Cached features are the live backbone's; anything that changes them misses."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from features.extraction import MEAN, SIZE, STD, extractor
from headstart.config.schema import FeaturesConfig, HardwareConfig
from headstart.data.augment import Preprocess
from headstart.data.loader import Pixels


def live_logits(model: torch.nn.Module, pixels: Pixels) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(Preprocess(SIZE, MEAN, STD).eval()(pixels.images))


@pytest.mark.parametrize("rules", [{"head": 1, "backbone": None}, {"depth0-2": 1, "all": None}])
def test_logits_of_cached_features_equal_live_ones(
    rules: dict, model: torch.nn.Module, pixels: Pixels, tmp_path: Path
) -> None:
    live = live_logits(model, pixels)
    for _ in ("computed", "read back"):
        extract, found = extractor(model, tmp_path, rules)
        logits = found.rest.eval()(extract(pixels, "test"))
        assert torch.allclose(logits, live, rtol=1e-4, atol=1e-5 * float(live.abs().max()))
    assert extract.costs["test"].computed == 0
    assert extract.costs["test"].reused == len(pixels)


def test_bfloat16_features_are_within_five_percent_of_the_range(model: torch.nn.Module, pixels: Pixels) -> None:
    config = HardwareConfig(accelerator="cpu", precision="bf16")
    extract, found = extractor(model, None, config=config)
    logits = found.rest.eval()(extract(pixels, "test").float()).detach()
    live = live_logits(model, pixels)
    worst = float((logits - live).abs().max() / (live.max() - live.min()))
    assert 0 < worst < 0.05, "bfloat16 has 8 bits: it must differ, and only a little"


def test_every_change_of_what_decides_the_numbers_misses(model: torch.nn.Module) -> None:
    keys = {extractor(model, None)[0].key}
    assert extractor(model, None)[0].key in keys, "the same again is the same"
    transforms = [
        {"image_size": 96, "mean": MEAN, "std": STD},
        {"image_size": SIZE, "mean": (0.4, 0.5, 0.5), "std": STD},
        {"image_size": SIZE, "mean": MEAN, "std": (0.4, 0.5, 0.5)},
    ]
    for transform in transforms:
        keys.add(extractor(model, None, transform=transform)[0].key)
    keys.add(extractor(model, None, config=HardwareConfig(accelerator="cpu", precision="bf16"))[0].key)
    keys.add(extractor(model, None, {"depth0-1": 1, "all": None})[0].key)
    for option in ({"global_pool": "max"}, {"output_stride": 16}):
        other = timm.create_model("test_efficientnet", num_classes=10, **option).eval()
        other.load_state_dict(model.state_dict())
        keys.add(extractor(other, None)[0].key)
    with torch.no_grad():
        model.conv_stem.weight[0, 0, 0, 0] += 1e-3
    keys.add(extractor(model, None)[0].key)
    with torch.no_grad():
        model.bn1.running_mean[0] += 1e-3
    keys.add(extractor(model, None)[0].key)
    assert len(keys) == 10


def test_a_new_head_does_not_miss(model: torch.nn.Module) -> None:
    before = extractor(model, None)[0].key
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert extractor(model, None)[0].key == before


def test_rows_are_keyed_by_image(model: torch.nn.Module, pixels: Pixels, tmp_path: Path) -> None:
    some = Pixels(pixels.images[:25], pixels.labels[:25], pixels.ids[:25], pixels.names[:25])
    first, _ = extractor(model, tmp_path)
    first(some, "some")
    again, _ = extractor(model, tmp_path)
    order = torch.randperm(len(pixels)).tolist()
    shuffled = Pixels(pixels.images[order], pixels.labels, [pixels.ids[i] for i in order], pixels.names)
    features = again(shuffled, "all")
    assert again.costs["all"].computed == len(pixels) - 25
    fresh = extractor(model, None)[0](shuffled, "all")
    assert torch.equal(features, fresh), "a row does not depend on what was computed with it"


def test_equal_images_are_computed_once(model: torch.nn.Module, pixels: Pixels) -> None:
    twice = Pixels(pixels.images[[0, 1, 0]], pixels.labels[:3], [pixels.ids[i] for i in (0, 1, 0)], pixels.names[:3])
    extract, _ = extractor(model, None)
    features = extract(twice, "three")
    assert extract.costs["three"].computed == 2
    assert torch.equal(features[0], features[2])


@pytest.mark.parametrize("storage", ["memory", "mapped"])
def test_features_are_kept_in_the_precision_that_is_asked_for(
    storage: str, model: torch.nn.Module, pixels: Pixels, tmp_path: Path
) -> None:
    exact = extractor(model, None)[0](pixels, "test")
    keys = set()
    for dtype in ("auto", "float32", "bfloat16"):
        for again in (False, True):
            extract, _ = extractor(model, tmp_path, kept=FeaturesConfig(dtype, storage))
            features = extract(pixels, "test")
            assert extract.costs["test"].computed == (0 if again else len(pixels))
            assert features.dtype == (torch.bfloat16 if dtype == "bfloat16" else torch.float32)
            assert torch.equal(features, exact.to(features.dtype))
        keys.add(extract.key)
    assert len(keys) == 3, "what changes the numbers is in the key"
    assert extractor(model, None, kept=FeaturesConfig("bfloat16", "auto"))[0].key in keys, "where they are kept is not"
