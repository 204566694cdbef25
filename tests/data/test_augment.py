"""Augmentation: each image its own, drawn from the whole stored image, reproducible, off when it is off."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from timm.data import create_transform

from headstart.config.schema import is_random
from headstart.data import augment
from headstart.data.augment import Preprocess

CONF = Path(__file__).parents[2] / "conf" / "augment"
OFF = {
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": False,
    "rotation": 0,
    "color_jitter": 0.0,
    "erasing": 0.0,
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess(size: int = 24, mean: tuple = (0.0,) * 3, std: tuple = (1.0,) * 3, **on: object) -> Preprocess:
    return Preprocess(size, mean, std, SimpleNamespace(**OFF | on))


def ramp(n: int, side: int = 32) -> torch.Tensor:
    """The same image n times: red grows to the right, green downwards, blue is constant."""
    steps = (torch.arange(side) * 8).clamp(max=255).to(torch.uint8)
    image = torch.stack([steps.expand(side, side), steps[:, None].expand(side, side), torch.full((side, side), 100)])
    return image.to(torch.uint8).repeat(n, 1, 1, 1)


def files() -> dict[str, dict]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")}


def test_config_files() -> None:
    assert set(files()) == {"none", "standard", "strong"}
    for name, values in files().items():
        assert set(values) <= set(OFF)
        values["flip"] = values["flip"] not in (False, "${data.flip}")  # as with data.flip=false
        assert is_random(SimpleNamespace(**OFF | values)) == (name != "none")


@pytest.mark.parametrize("stored", [24, 25, 26, 27, 30])
def test_evaluation_is_the_centre_crop(stored: int) -> None:
    from torchvision.transforms.functional import center_crop

    images = torch.randint(0, 256, (3, 3, stored, stored), dtype=torch.uint8)
    expected = (center_crop(images, 24).float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    module = preprocess(mean=MEAN, std=STD, flip=True)
    assert torch.equal(module(images), expected)
    assert torch.equal(preprocess(mean=MEAN, std=STD)(images, train=True), expected)  # nothing is on
    assert torch.equal(Preprocess(24, MEAN, STD)(images, train=True), expected)
    assert not module.state_dict()


def test_too_small_images_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than 24 px"):
        preprocess()(ramp(1, side=23))


def test_each_image_draws_its_own_crop_from_the_whole_stored_image() -> None:
    torch.manual_seed(0)
    images = preprocess(crop_scale=(0.3, 0.5), crop_ratio=(0.8, 1.25))(ramp(400), train=True) * 255 / 8
    assert images.shape == (400, 3, 24, 24)
    left, right = images[:, 0, 12, 0], images[:, 0, 12, -1]
    top, bottom = images[:, 1, 0, 12], images[:, 1, -1, 12]
    assert len(left.round(decimals=2).unique()) > 8
    assert min(left.min(), top.min()) < 1  # the edges of the 32 px image, not of its 24 px centre
    assert max(right.max(), bottom.max()) > 30
    area = (right - left + 1) * (bottom - top + 1) / 32**2
    assert 0.25 < area.min() < 0.34
    assert 0.46 < area.max() < 0.55
    shape = (right - left + 1) / (bottom - top + 1)
    assert shape.min() < 0.87 < 1.15 < shape.max()
    assert torch.allclose(images[:, 2], torch.tensor(100 / 8), atol=1e-3)


def photographs(n: int, side: int) -> torch.Tensor:
    from sklearn.datasets import load_sample_image

    whole = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
    return torch.stack([whole[:, 9 * at : 9 * at + side, 15 * at : 15 * at + side] for at in range(n)])


def test_a_crop_is_torchvisions_and_the_batched_one_is_the_same() -> None:
    """On a CPU one image at a time in uint8, on a GPU all at once in float32."""
    from torchvision.transforms.v2.functional import resized_crop

    images = photographs(6, 128)
    boxes = torch.tensor([[0, 0, 128, 128], [3, 5, 100, 96], [28, 28, 100, 100], [0, 60, 128, 68], [9, 9, 80, 119]])
    boxes = torch.cat([boxes, boxes[:1]])
    flips = torch.tensor([True, False, True, False, True, False])
    views = augment.crop_and_resize(images, boxes, flips, 112)
    upright = torch.where(flips[:, None, None, None], views.flip(-1), views)
    for image, (left, top, width, height), view in zip(images, boxes.tolist(), upright, strict=True):
        expected = resized_crop(image[None], top, left, height, width, [112, 112], antialias=False)[0]
        assert (view.int() - expected.int()).abs().max() <= 1
    batched = augment.crop_by_grid_sample(images.float(), boxes, flips, 112)
    apart = (batched - views.float()).abs()[..., 1:-1, 1:-1]  # at its border a crop alone does not see what is beyond
    assert apart.max() <= 1.01
    assert apart.mean() < 0.3


def test_threads_do_not_change_the_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    images, module = photographs(7, 128), preprocess(size=112, crop_scale=(0.5, 1.0), flip=True)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        torch.manual_seed(0)
        found.append(module(images, train=True))
    assert torch.equal(*found)


@pytest.mark.parametrize("on", [{"flip": True}, {"flip": True, "crop_scale": (0.7, 1.0)}, {}], ids=str)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_stored_images_stay_as_they_are(on: dict, layout: torch.memory_format) -> None:
    images = photographs(8, 64).contiguous(memory_format=layout)
    before = images.clone()
    module = preprocess(size=56, mean=MEAN, std=STD, **on)
    module(images, train=True)
    module(images)
    assert torch.equal(images, before)


def test_the_layout_in_memory_does_not_change_the_pixels() -> None:
    images = photographs(4, 64)
    for on in ({}, {"crop_scale": (0.5, 0.9)}):
        seen = []
        for layout in (torch.channels_last, torch.contiguous_format):
            torch.manual_seed(1)
            seen.append(preprocess(56, MEAN, STD, **on)(images.contiguous(memory_format=layout), train=True))
        assert torch.equal(*seen)


@pytest.mark.gpu
def test_a_gpu_crops_as_a_cpu_does() -> None:
    images, module = photographs(6, 128), preprocess(size=112, crop_scale=(0.5, 1.0), flip=True)
    views = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        views.append(module.to(device)(images.to(device), train=True).cpu())
    assert (views[0] - views[1]).abs()[..., 1:-1, 1:-1].max() <= 1.01 / 255


def test_half_of_the_images_flip() -> None:
    torch.manual_seed(0)
    images = preprocess(flip=True)(ramp(400), train=True)
    flipped = images[:, 0, 0, 0] > images[:, 0, 0, -1]
    assert 160 < flipped.sum() < 240
    same = preprocess()(ramp(400))
    assert torch.allclose(images[~flipped], same[~flipped])
    assert torch.allclose(images[flipped], same[flipped].flip(-1))


def test_rotation_stays_within_its_degrees_and_leaves_no_black_corner() -> None:
    torch.manual_seed(0)
    images = preprocess(size=32, rotation=20)(ramp(300), train=True) * 255 / 8
    across, down = images[:, 0, 12, 14] - images[:, 0, 12, 9], images[:, 0, 14, 12] - images[:, 0, 9, 12]
    angle = torch.rad2deg(torch.atan2(down, across))
    assert 17 < angle.max() < 20.5
    assert -20.5 < angle.min() < -17
    assert images[:, 2].min() > 12


def test_colours_differ_per_image_and_stay_in_range() -> None:
    torch.manual_seed(0)
    images = preprocess(color_jitter=0.4)(ramp(100), train=True)
    assert len(images[:, 2, 5, 5].round(decimals=4).unique()) > 50
    assert 0 <= images.min() <= images.max() <= 1


def test_erasing_fills_a_box_with_the_mean() -> None:
    torch.manual_seed(0)
    images = preprocess(mean=(1.5,) * 3, erasing=0.5)(ramp(200), train=True)
    erased = (images == 0).all(1)
    assert 70 < erased.any(-1).any(-1).sum() < 130
    assert len(erased[erased.any(-1).any(-1)].sum((1, 2)).unique()) > 20


def test_randomness_is_torchs_global_generator() -> None:
    strong = yaml.safe_load((CONF / "strong.yaml").read_text()) | {"flip": True}
    module = preprocess(**strong)
    batches = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        batches.append(module(ramp(8), train=True))
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    assert batches[0].dtype == torch.float32


def test_evaluation_draws_no_random_numbers() -> None:
    module = preprocess(flip=True)
    before = torch.random.get_rng_state()
    module(ramp(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_normalisation_is_timms() -> None:
    from PIL import Image

    image = ramp(1, side=24)
    expected = create_transform(24, crop_pct=1.0, mean=MEAN, std=STD)(
        Image.fromarray(image[0].permute(1, 2, 0).numpy())
    )
    assert torch.allclose(preprocess(mean=MEAN, std=STD)(image)[0], expected, atol=1e-6)


@pytest.mark.parametrize("changes", [{"flip": True}, {"crop_scale": (0.5, 1.0)}, {"color_jitter": 0.4}])
def test_a_training_view_is_normalised_as_an_evaluated_one(changes: dict[str, Any]) -> None:
    views = []
    for options in ({}, {"mean": MEAN, "std": STD}):
        torch.manual_seed(0)
        views.append(preprocess(**options, **changes)(ramp(4), train=True))
    expected = (views[0] - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.allclose(views[1], expected, atol=2e-6)


def test_kornia_is_imported_only_when_something_is_random() -> None:
    code = (
        "import sys, torch; from types import SimpleNamespace as N\n"
        "from headstart.data.augment import Preprocess\n"
        f"off = {OFF!r}\n"
        "images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)\n"
        "Preprocess(8, (0, 0, 0), (1, 1, 1), N(**off))(images, train=True)\n"
        "assert 'kornia' not in sys.modules\n"
        "Preprocess(8, (0, 0, 0), (1, 1, 1), N(**off | {'flip': True}))\n"
        "assert 'kornia' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
