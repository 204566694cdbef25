"""Cached features are the live backbone's; anything that changes them misses; a torn file is never read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from conftest import compose
from headstart import hardware, strategy
from headstart.config import FeaturesConfig, HardwareConfig, PhaseConfig
from headstart.data import prepare
from headstart.data.augment import Preprocess
from headstart.data.loading import Pixels
from headstart.errors import UserError
from headstart.features import Extractor, FeatureStore, Room
from headstart.models import cut, own  # noqa: F401
from headstart.models.stages import Stages

CPU = HardwareConfig(accelerator="cpu", precision="32")
MEAN = STD = (0.5, 0.5, 0.5)
SIZE = 64


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Forty real digits."""
    data = compose("data=digits", "data.n_test=40", f"data.image_size={SIZE}").data
    return prepare(data, image_size=SIZE, crop_pct=0.875, interpolation="bicubic").test


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_100", num_classes=10).eval()


def extractor(
    model: torch.nn.Module,
    cache: Path | None,
    rules: dict[str, Any] | None = None,
    config: HardwareConfig = CPU,
    transform: dict[str, Any] | None = None,
    kept: FeaturesConfig | None = None,
) -> tuple[Extractor, cut.Cut]:
    """The frozen prefix under the rules, over a cache."""
    rules = rules or {"head": 1, "backbone": None}
    phase = strategy.plan(model, {"p": PhaseConfig(rates=rules, epochs=1)})[0]
    found = cut.find(model, phase.trainable, torch.randn(2, 3, SIZE, SIZE))
    assert found is not None
    known = transform or {"image_size": SIZE, "mean": MEAN, "std": STD}
    return Extractor(found, Preprocess(SIZE, MEAN, STD), known, config, cache, kept), found


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
        other = timm.create_model("mobilenetv2_100", num_classes=10, **option).eval()
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


@pytest.mark.parametrize("harm", ["cut short", "one byte", "empty", "renamed"])
def test_a_damaged_file_is_never_read(
    harm: str, model: torch.nn.Module, pixels: Pixels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = extractor(model, tmp_path)[0](pixels, "test")
    (shard,) = tmp_path.rglob("*.safetensors")
    content = shard.read_bytes()
    if harm == "cut short":
        shard.write_bytes(content[: len(content) // 2])
    elif harm == "one byte":
        shard.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif harm == "empty":
        shard.write_bytes(b"")
    else:
        shard.rename(shard.with_name("0" * 32 + ".safetensors"))
    extract, _ = extractor(model, tmp_path)
    assert torch.equal(extract(pixels, "test"), expected)
    assert extract.costs["test"].computed == len(pixels)
    assert "damaged" in caplog.text


def test_a_file_being_written_is_not_seen(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, "key")
    store.write(["0" * 32], torch.ones(1, 3), 1.0)
    (shard,) = tmp_path.rglob("*.safetensors")
    shard.rename(shard.with_name(".123.part"))
    assert store.read({"0" * 32}) == ({}, 0.0)


def test_a_cache_that_cannot_be_written_costs_the_cache_only(
    model: torch.nn.Module, pixels: Pixels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert len(extractor(model, blocked)[0](pixels, "test")) == len(pixels)
    assert "feature cache: cannot write" in caplog.text


def test_settling_auto_is_concrete() -> None:
    settled = hardware.settle(HardwareConfig())
    assert settled.accelerator in ("cpu", "gpu")
    assert settled.precision in ("32", "bf16")


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


def test_mapped_features_are_not_held_in_memory() -> None:
    room = Room(200_000, "mapped")
    before = anonymous_memory()
    for start in range(0, 200_000, 5_000):  # small pieces: the allocator may keep what an earlier test told it to keep
        room.put(torch.arange(start, start + 5_000), torch.full((5_000, 256), float(start)))
    assert room.tensor.shape == (200_000, 256)
    assert float(room.tensor[::50_000, 0].sum()) == 300_000
    assert anonymous_memory() - before < 0.5 * 200_000 * 256 * 4


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_several_stages_are_one_pass_and_their_own_features(model: torch.nn.Module, pixels: Pixels) -> None:
    images = Preprocess(SIZE, MEAN, STD).eval()(pixels.images[:4])
    stages = Stages(model, [0, -2, -1], ["avg", "max"])
    columns = stages.columns(images)
    assert list(columns) == ["stage0 avg", "stage0 max", "stage4 avg", "stage4 max", "pre-logits", "all"]
    with torch.no_grad():
        found = stages(images)
        maps = model.forward_intermediates(images, intermediates_only=True)
        own = model.forward_head(model.forward_features(images), pre_logits=True)
        assert torch.allclose(found[:, columns["stage0 max"]], maps[0].amax((2, 3)), atol=1e-5)
        assert torch.allclose(found[:, columns["stage4 avg"]], maps[4].mean((2, 3)), atol=1e-5)
        assert torch.allclose(found[:, columns["pre-logits"]], own, atol=1e-5)
        assert torch.allclose(cut.folded(stages)(images), found, atol=1e-3)
    assert found.shape[1] == columns["all"].stop


def test_stages_that_a_network_does_not_have_are_refused(model: torch.nn.Module) -> None:
    with pytest.raises(UserError, match=r"5 stages, 0 to 4"):
        Stages(model, [6], ["avg"])
    with pytest.raises(UserError, match="does not offer its stages"):
        Stages(timm.create_model("linear"), [0], ["avg"])
