"""Images changed on purpose: each change by itself, and measured through a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from headstart.errors import UserError
from headstart.measures import corruptions
from measures.tables import TINY, rows


@pytest.fixture
def images() -> torch.Tensor:
    """Three images of noise, uint8 [3, 3, 16, 16]."""
    return torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def square(side: int) -> torch.Tensor:
    """A bright square in the middle of a dark image of 15 pixels, uint8 [1, 3, 15, 15]."""
    made = torch.zeros(1, 3, 15, 15, dtype=torch.uint8)
    low = 7 - side // 2
    made[:, :, low : low + side, low : low + side] = 200
    return made


@pytest.mark.parametrize("pixels", [1, 3])
def test_a_shift_by_whole_pixels_moves_exactly_and_continues_the_border(images: torch.Tensor, pixels: int) -> None:
    right, left, down, up = corruptions.corrupt(images, "shift", pixels / 16)
    assert torch.equal(right[..., pixels:], images[..., :-pixels])
    assert torch.equal(right[..., :pixels], images[..., :1].expand(-1, -1, -1, pixels))
    assert torch.equal(left[..., :-pixels], images[..., pixels:])
    assert torch.equal(left[..., -pixels:], images[..., -1:].expand(-1, -1, -1, pixels))
    assert torch.equal(down[..., pixels:, :], images[..., :-pixels, :])
    assert torch.equal(up[..., :-pixels, :], images[..., pixels:, :])
    assert torch.equal(up[..., -1, :], images[..., -1, :])


UNCHANGED = [
    *(("shift", 0), ("scale", 1), ("rotation", 0), ("stroke", 0), ("noise", 0), ("blur", 0), ("contrast", 1)),
    ("brightness", 0),
]


@pytest.mark.parametrize(("change", "size"), UNCHANGED)
def test_no_change_changes_nothing(images: torch.Tensor, change: str, size: float) -> None:
    (same,) = corruptions.corrupt(images, change, size)
    assert same.dtype == torch.uint8
    assert torch.equal(same, images)


@pytest.mark.parametrize("size", [-2, -1, 1, 2])
def test_a_stroke_grows_and_shrinks_by_pixels_on_each_side(size: int) -> None:
    (made,) = corruptions.corrupt(square(5), "stroke", size)
    assert torch.equal(made, square(5 + 2 * size))


def test_a_scale_is_about_the_centre() -> None:
    (twice,) = corruptions.corrupt(square(3), "scale", 2)
    assert torch.equal(twice, twice.flip(2))
    assert torch.equal(twice, twice.flip(3))
    middle, bright = twice[0, 0, 7], square(3)[0, 0, 7]
    assert int(middle.sum()) == 2 * int(bright.sum()), "3 bright pixels cover 6: 5 whole ones and 2 by half"
    (half,) = corruptions.corrupt(square(6), "scale", 0.5)
    assert 0.9 < float(half.float().sum() / square(3).float().sum()) < 1.1


def test_a_rotation_goes_both_ways_about_the_centre(images: torch.Tensor) -> None:
    one, other = corruptions.corrupt(images, "rotation", 90)
    assert torch.equal(one, images.rot90(1, (2, 3)))
    assert torch.equal(other, images.rot90(-1, (2, 3)))


def test_noise_has_the_size_asked_for_and_is_the_same_again() -> None:
    middle = torch.full((40, 3, 32, 32), 128, dtype=torch.uint8)
    middle[20:, 2] = 127  # these have colour
    (made,) = corruptions.corrupt(middle, "noise", 0.1, seed=3)
    added = made.float() - middle.float()
    assert 25.3 < float(added.std()) < 25.7, "a tenth of 255, give or take rounding"
    assert abs(float(added.mean())) < 0.3
    assert torch.equal(added[:20, :1].expand(-1, 3, -1, -1), added[:20]), "grey images stay grey"
    channels = added[20:].transpose(0, 1).flatten(1)
    assert float(torch.corrcoef(channels).fill_diagonal_(0).abs().max()) < 0.05
    assert torch.equal(made, *corruptions.corrupt(middle, "noise", 0.1, seed=3))
    assert not torch.equal(made, *corruptions.corrupt(middle, "noise", 0.1, seed=4))


def test_a_blur_has_the_width_asked_for_and_keeps_the_light() -> None:
    spot = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    spot[..., 24:40, 24:40] = 255
    (made,) = corruptions.corrupt(spot, "blur", 3 / 64)
    columns, places = made[0, 0].float().sum(0), torch.arange(64.0)
    centre = float((columns * places).sum() / columns.sum())
    variance = float((columns * (places - centre) ** 2).sum() / columns.sum())
    assert centre == pytest.approx(31.5, abs=0.02)
    assert variance == pytest.approx((16**2 - 1) / 12 + 3**2, rel=0.03), "variances add: a box of 16, a Gaussian of 3"
    assert float(made.float().sum() / spot.float().sum()) == pytest.approx(1, abs=0.01)
    (wide,) = corruptions.corrupt(torch.full_like(spot, 200), "blur", 0.25)
    assert torch.equal(wide, torch.full_like(spot, 200)), "the border is continued"


def test_contrast_is_about_an_images_own_mean_and_brightness_is_added(images: torch.Tensor) -> None:
    grey = images[:, :1].expand(-1, 3, -1, -1).contiguous()
    (pale,) = corruptions.corrupt(grey, "contrast", 0.5)
    means = grey.float().mean((1, 2, 3), keepdim=True)
    assert (pale.float() - (means + 0.5 * (grey.float() - means))).abs().max() < 0.6
    (bright,) = corruptions.corrupt(images, "brightness", 0.2)
    assert torch.equal(bright.int(), (images.int() + 51).clamp(max=255))


def test_more_images_than_a_part_are_all_changed() -> None:
    many = torch.arange(300, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    for change, size in (("shift", 0.25), ("scale", 0.5), ("rotation", 30), ("stroke", 1), ("blur", 0.1)):
        for made in corruptions.corrupt(many.contiguous(), change, size):
            assert torch.equal(made, many)


def test_changes_are_measured_in_a_run(run_small: Callable[..., dict]) -> None:
    node = "{_target_: headstart.measures.Changes, shift: [0, 0.125], scale: [1, 0.5], stroke: [0, 1], noise: [1]}"
    result = run_small(*TINY, f"+measures.changes={node}", "epochs=1")
    found = {
        (row["change"], float(row["size"])): float(row["accuracy"]) for row in rows(result["folder"] / "changes.csv")
    }
    assert list(found) == [
        ("shift", 0),
        ("shift", 0.125),
        ("scale", 1),
        ("scale", 0.5),
        ("stroke", 0),
        ("stroke", 1),
        ("noise", 1),
    ]
    assert found["noise", 1] < 0.5, "noise as strong as white on black"
    for change, nothing in (("shift", 0), ("scale", 1), ("stroke", 0)):
        assert found[change, nothing] == pytest.approx(result["test"]["accuracy"]), "unchanged images: the test's own"
    assert all(round(share * 4 * 40, 6).is_integer() for share in found.values()), "shares of 40 images, four ways"


def test_a_shift_is_the_mean_over_four_directions(tmp_path: Path) -> None:
    """The network sees dark or light; one of four directions moves the light column out of sight."""
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[1, ..., 7] = 255
    test = SimpleNamespace(images=images, labels=torch.tensor([0, 1]), ids=["0", "1"], names=["0", "1"])

    def logits(pixels: SimpleNamespace) -> torch.Tensor:
        share = (pixels.images[:, 0, :, 5] > 0).float().mean(1)
        return torch.stack([0.5 - share, share - 0.5], 1)

    corruptions.Changes(shift=[0, 0.25]).on_test_end(test, logits, tmp_path)
    assert [float(row["accuracy"]) for row in rows(tmp_path / "changes.csv")] == [0.5, (0.5 + 1 + 0.5 + 0.5) / 4]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"scale": [1, 0]}, r"scale=\[1, 0\]: must be numbers from 0.05"),
        ({"stroke": [0.5]}, r"stroke=\[0.5\]: must be whole numbers from -99 to 99"),
        ({"noise": [True]}, "noise"),
        ({"brightness": ["dark"]}, "brightness"),
    ],
)
def test_a_size_that_cannot_be_is_refused(sizes: dict[str, list], words: str) -> None:
    with pytest.raises(UserError, match=words):
        corruptions.Changes(**sizes)
