"""Batches: their order, what they show, streamed or from memory, made ahead of their use or not."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import folder, jpegs, load, read, streamed
from headstart.data.batches import Batches
from headstart.data.loader import Pixels, make_loader
from headstart.data.source import array_split
from headstart.data.splits import Part
from headstart.errors import UserError


def test_ids_are_of_the_pixels_and_labels_follow_rows(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    data[3] = data[0]
    split = array_split(data, np.array([5, 6, 7, 8]), "train")
    pixels = load(Part(split, np.array([3, 1, 0])), 8, "bilinear")
    assert pixels.labels.tolist() == [8, 6, 5]
    assert pixels.names == ["train[3]", "train[1]", "train[0]"]
    assert pixels.ids[0] == pixels.ids[2] != pixels.ids[1]
    assert pixels.ids[1] == hashlib.blake2b(data[1].tobytes(), digest_size=16).hexdigest()


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_of_images_in_memory(workers: int, tmp_path: Path) -> None:
    part = jpegs(tmp_path, 21)
    ways = [
        make_loader(pixels, 4, shuffle=True, seed=3, phase="fit", workers=workers if pixels.streamed else 0)
        for pixels in (load(part, 64, "bicubic"), streamed(part))
    ]
    for epoch, skip in ((0, 0), (1, 2), (2, 0)):
        for way in ways:
            way.sampler.set_epoch(epoch)
            way.sampler.skip = skip
        plain, decoded_anew = (list(way) for way in ways)
        assert len(plain) == len(decoded_anew) == 5 - skip
        for one, other in zip(plain, decoded_anew, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_of_chosen_rows(tmp_path: Path) -> None:
    part = jpegs(tmp_path, 9)
    rows = torch.tensor([7, 1, 1, 8, 0])
    held = load(part, 64, "bicubic")
    for pixels in (held, streamed(part), streamed(part, workers=1)):
        assert pixels.side == 64
        batches = list(pixels.batches(rows, 2))
        assert [len(batch) for batch in batches] == [2, 2, 1]
        assert torch.equal(torch.cat(batches), held.images[rows])


def test_a_streamed_epoch_may_be_left_in_its_middle(tmp_path: Path) -> None:
    batches = make_loader(streamed(jpegs(tmp_path, 12)), 2, shuffle=True, seed=0, phase="fit")
    before = threading.active_count()
    iterator = iter(batches)
    next(iterator)
    iterator.close()
    assert len(list(batches)) == 6
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_streamed_image_that_is_gone_is_named(workers: int, tmp_path: Path) -> None:
    part = jpegs(tmp_path, 6)
    pixels = streamed(part)
    (tmp_path / "004.jpg").unlink()
    with pytest.raises(UserError, match=r"^1 of 6 images cannot be read; .*\n.*004\.jpg: there is no such file$"):
        list(make_loader(pixels, 2, shuffle=False, seed=0, phase="fit", workers=workers))


def test_a_streamed_image_that_was_replaced_is_named(tmp_path: Path) -> None:
    pixels = streamed(jpegs(tmp_path, 6))
    batches = make_loader(pixels, 2, shuffle=False, seed=0, phase="fit")
    for name in ("003", "004"):
        content = (tmp_path / f"{name}.jpg").read_bytes()
        (tmp_path / f"{name}.jpg").unlink()
        (tmp_path / f"{name}.jpg").write_bytes(content)
    assert len(list(batches)) == 3  # the same content in another file
    (tmp_path / "004.jpg").write_bytes((tmp_path / "000.jpg").read_bytes())
    with pytest.raises(UserError, match=r"004\.jpg: its content has changed since this run began; start the run again"):
        list(make_loader(pixels, 2, shuffle=False, seed=0, phase="fit"))


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_are_pinned(workers: int, tmp_path: Path) -> None:
    part = jpegs(tmp_path, 8)
    for pixels in (load(part, 64, "bicubic"), streamed(part)):
        options = {"shuffle": True, "seed": 0, "phase": "fit", "workers": workers, "pin_memory": True}
        for images, labels, _ in make_loader(pixels, 4, **options):
            assert images.is_pinned()
            assert labels.is_pinned()
        for images in pixels.batches(torch.arange(8), 4, pin=True):
            assert images.is_pinned()
            assert torch.equal(images.to("cuda", non_blocking=True).cpu(), images)


def pixels_of(n: int) -> Pixels:
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, 4, 4).contiguous()
    return Pixels(images, torch.arange(n) * 10, [f"id{i}" for i in range(n)], [f"n{i}" for i in range(n)])


def epoch_of(epoch: int, **options) -> list[int]:
    batches = make_loader(pixels_of(40), 16, **{"shuffle": True, "seed": 1, "phase": "fit"} | options)
    batches.sampler.set_epoch(epoch)
    rows = []
    for images, labels, row in batches:
        assert torch.equal(images[:, 2, 3, 3].long(), row)
        assert torch.equal(labels, row * 10)
        rows += row.tolist()
    assert sorted(rows) == list(range(40))
    return rows


def test_order_is_a_function_of_seed_phase_and_epoch() -> None:
    first = epoch_of(0)
    assert first == epoch_of(0)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 the global generators must not matter
    assert first == epoch_of(0, workers=1)
    assert len({tuple(r) for r in (first, epoch_of(1), epoch_of(0, seed=2), epoch_of(0, phase="head"))}) == 4
    assert epoch_of(3, shuffle=False) == list(range(40))


@pytest.mark.parametrize(
    ("n", "size", "shuffle", "lengths"),
    [
        (33, 16, True, [16, 17]),
        (33, 16, False, [16, 16, 1]),
        (34, 16, True, [16, 16, 2]),
        (32, 16, True, [16, 16]),
        (1, 16, True, [1]),
        (17, 16, True, [17]),
        (3, 1, True, [1, 1, 1]),
    ],
)
def test_no_training_batch_of_one(n: int, size: int, shuffle: bool, lengths: list[int]) -> None:
    batches = Batches(n, size, shuffle, 0, "fit")
    assert [len(b) for b in batches] == lengths
    assert len(batches) == len(lengths)


def test_the_images_of_a_step_are_those_of_its_batches() -> None:
    batches = Batches(33, 4, True, 0, "fit")  # the last of eight has five
    assert batches.count_step_images(1) == [len(b) for b in batches]
    assert batches.count_step_images(3) == [12, 12, 9]
    assert batches.count_step_images(100) == [33]


def makers(pixels: Pixels, size: int) -> list[bool]:
    """Of each batch, whether the thread that asks for it makes it; batches are compared with the images."""
    made, take = [], pixels.take
    pixels.take = lambda rows: made.append(threading.current_thread()) or take(rows)  # type: ignore[method-assign]
    for images, _, rows in make_loader(pixels, size, shuffle=True, seed=0, phase="all"):
        assert torch.equal(images, take(rows))
    return [maker is threading.current_thread() for maker in made]


@pytest.mark.parametrize(("side", "ahead"), [(224, True), (8, False)])
def test_large_batches_are_made_ahead_of_their_use_and_small_ones_when_asked_for(side: int, ahead: bool) -> None:
    images = torch.randint(0, 256, (40, 3, side, side), dtype=torch.uint8)
    pixels = Pixels(images, torch.arange(40), [str(at) for at in range(40)], [""] * 40)
    assert makers(pixels, 8) == [True, *[not ahead] * 4], "the first tells how large they are"


def test_streamed_batches_of_any_size_are_decoded_ahead_of_their_use(tmp_path: Path) -> None:
    assert makers(streamed(jpegs(tmp_path, 12)), 2) == [False] * 6


def test_workers_do_not_read_the_images_again(tmp_path: Path) -> None:
    pixels = read(folder(tmp_path)).train
    make_loader(pixels, 4, shuffle=True, seed=0, phase="fit", workers=1)
    assert isinstance(vars(pixels)["_images"], torch.Tensor)


def test_balanced_sampling_shows_each_class_as_often_and_is_a_function_of_the_epoch() -> None:
    labels = torch.tensor([0] * 900 + [1] * 80 + [2] * 20)
    names = [str(row) for row in range(1000)]
    drawn = make_loader(
        Pixels(torch.zeros(1000, 1), labels, names, names), 100, shuffle=True, seed=0, phase="p", balanced=True
    )
    epochs = []
    for epoch in (0, 1, 0):
        drawn.sampler.set_epoch(epoch)
        epochs.append(torch.cat([batch[2] for batch in drawn]))
    counts = labels[epochs[0]].bincount(minlength=3).tolist()
    assert sum(counts) == 1000
    assert all(270 < count < 400 for count in counts), counts
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


def test_each_epoch_shows_one_view_of_each_image_and_in_turn_all_of_them() -> None:
    batches = Batches(10, 4, True, 0, "p", views=3)
    shown = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        rows = torch.cat(list(batches))
        assert sorted((rows // 3).tolist()) == list(range(10))
        shown += rows.tolist()
    assert sorted(shown) == list(range(30))
