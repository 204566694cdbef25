"""What a run observes besides accuracy: the changes of images, computed and through a run; gradients, resumed too."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from conftest import compose
from headstart import components, measures
from headstart.errors import UserError

TINY = ("model=resnet20_cifar", "+model.args.width=0.25", "strategy=scratch", "hardware.threads=1")


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


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("pixels", [1, 3])
def test_a_shift_by_whole_pixels_moves_exactly_and_continues_the_border(images: torch.Tensor, pixels: int) -> None:
    right, left, down, up = measures.changed(images, "shift", pixels / 16)
    assert torch.equal(right[..., pixels:], images[..., :-pixels])
    assert torch.equal(right[..., :pixels], images[..., :1].expand(-1, -1, -1, pixels))
    assert torch.equal(left[..., :-pixels], images[..., pixels:])
    assert torch.equal(left[..., -pixels:], images[..., -1:].expand(-1, -1, -1, pixels))
    assert torch.equal(down[..., pixels:, :], images[..., :-pixels, :])
    assert torch.equal(up[..., :-pixels, :], images[..., pixels:, :])
    assert torch.equal(up[..., -1, :], images[..., -1, :])


@pytest.mark.parametrize(("change", "size"), [("shift", 0), ("scale", 1), ("stroke", 0)])
def test_no_change_changes_nothing(images: torch.Tensor, change: str, size: float) -> None:
    (same,) = measures.changed(images, change, size)
    assert same.dtype == torch.uint8
    assert torch.equal(same, images)


@pytest.mark.parametrize("size", [-2, -1, 1, 2])
def test_a_stroke_grows_and_shrinks_by_pixels_on_each_side(size: int) -> None:
    (made,) = measures.changed(square(5), "stroke", size)
    assert torch.equal(made, square(5 + 2 * size))


def test_a_scale_is_about_the_centre() -> None:
    (twice,) = measures.changed(square(3), "scale", 2)
    assert torch.equal(twice, twice.flip(2))
    assert torch.equal(twice, twice.flip(3))
    middle, bright = twice[0, 0, 7], square(3)[0, 0, 7]
    assert int(middle.sum()) == 2 * int(bright.sum()), "3 bright pixels cover 6: 5 whole ones and 2 by half"
    (half,) = measures.changed(square(6), "scale", 0.5)
    assert 0.9 < float(half.float().sum() / square(3).float().sum()) < 1.1


def test_more_images_than_a_part_are_all_changed() -> None:
    many = torch.arange(300, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    for change, size in (("shift", 0.25), ("scale", 0.5), ("stroke", 1)):
        for made in measures.changed(many.contiguous(), change, size):
            assert torch.equal(made, many)


def test_changes_are_measured_in_a_run(run_small: Callable[..., dict]) -> None:
    node = "{_target_: headstart.measures.Changes, shift: [0, 0.125], scale: [1, 0.5], stroke: [0, 1]}"
    result = run_small(*TINY, f"+measures.changes={node}", "epochs=1")
    found = {
        (row["change"], float(row["size"])): float(row["accuracy"]) for row in rows(result["folder"] / "changes.csv")
    }
    assert list(found) == [("shift", 0), ("shift", 0.125), ("scale", 1), ("scale", 0.5), ("stroke", 0), ("stroke", 1)]
    for change, nothing in (("shift", 0), ("scale", 1), ("stroke", 0)):
        assert found[change, nothing] == pytest.approx(result["test"]["accuracy"]), "unchanged images: the test's own"
    assert all(round(share * 4 * 40, 6).is_integer() for share in found.values()), "shares of 40 images, four ways"


def test_a_shift_is_the_mean_over_four_directions(tmp_path: Path) -> None:
    """The network sees dark or light; one of four directions moves the light column out of sight."""
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[1, ..., 7] = 255
    test = SimpleNamespace(images=images, labels=torch.tensor([0, 1]), ids=["0", "1"], names=["0", "1"])
    context = SimpleNamespace(data=SimpleNamespace(test=test), run=SimpleNamespace(folder=tmp_path))

    def logits(pixels: SimpleNamespace) -> torch.Tensor:
        share = (pixels.images[:, 0, :, 5] > 0).float().mean(1)
        return torch.stack([0.5 - share, share - 0.5], 1)

    measures.Changes(shift=[0, 0.25]).tested(context, logits)
    assert [float(row["accuracy"]) for row in rows(tmp_path / "changes.csv")] == [0.5, (0.5 + 1 + 0.5 + 0.5) / 4]


def test_gradients_are_written_an_epoch_and_layer_at_a_time(run_small: Callable[..., dict]) -> None:
    result = run_small(*TINY, "+measures.gradients._target_=headstart.measures.GradientNorms")
    found = rows(result["folder"] / "gradients.csv")
    layers = [row["name"] for row in found if row["epoch"] == "1"]
    assert [int(row["epoch"]) for row in found] == [1] * len(layers) + [2] * len(layers)
    assert [int(row["layer"]) for row in found[: len(layers)]] == list(range(1, len(layers) + 1))
    assert layers[0].startswith("stem")
    assert layers[-1] == "head.weight"
    assert len(layers) == 20, "ResNet-20 is named for its layers with weights"
    assert all(0 < float(row["rms"]) < 100 for row in found)


def watch(path: Path, epoch: int, *, last: bool = True) -> None:
    """An optimizer's step, as Lightning announces it."""
    torch.manual_seed(epoch)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))
    model[1].requires_grad_(False)
    model(torch.ones(1, 3)).sum().backward()
    callback = measures._GradientWatch(model, path, "all")
    trainer = SimpleNamespace(is_last_batch=last, current_epoch=epoch)
    callback.on_before_optimizer_step(trainer, None, None)
    if last:
        size = float(model[0].weight.grad.pow(2).mean() ** 0.5)
        assert float(rows(path)[-1]["rms"]) == pytest.approx(size)


def test_an_epoch_written_again_does_not_double(tmp_path: Path) -> None:
    path = tmp_path / "gradients.csv"
    for epoch in (0, 1, 1, 2):  # the second was cut off after it was written, and is done again
        watch(path, epoch)
    assert [(row["epoch"], row["layer"], row["name"]) for row in rows(path)] == [
        (str(epoch), "1", "0.weight") for epoch in (1, 2, 3)
    ], "a bias is no layer, nor is what is frozen"


def test_only_the_last_step_of_an_epoch_is_written(tmp_path: Path) -> None:
    watch(tmp_path / "gradients.csv", 0, last=False)
    assert not (tmp_path / "gradients.csv").exists()


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("{_target_: headstart.measures.Chages}", r"measures\.x\._target_=headstart\.measures\.Chages"),
        ("{_target_: os.system}", r"measures\.x\._target_=os\.system: only things of headstart"),
        ("{_target_: headstart.measures.Changes, shfit: [0]}", r"measures\.x\.shfit: .*did you mean shift\?"),
        ("{_target_: headstart.report.questions.Scatter, title: a}", r"measures\.x: Scatter also needs x, by"),
    ],
)
def test_what_is_wrong_with_a_measure_is_named(node: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        components.check(compose(f"+measures.x={node}"))


def test_a_scale_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"scale=\[1, 0\]: factors must be above 0"):
        measures.Changes(scale=[1, 0])
