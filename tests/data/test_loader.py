"""Loading: timm's pixels, odd image files, order of batches, memory."""

import hashlib
import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import create_transform

from headstart.data import Data, prepare, sources
from headstart.data.augment import Preprocess
from headstart.data.decoding import decoded, to_rgb
from headstart.data.loading import Batches, Pixels, load, loader
from headstart.data.reading import Decoder
from headstart.data.sources import FileImages, Split, array_split
from headstart.data.splits import Part
from headstart.errors import UserError

PHOTOS = dict(zip(("china", "flower"), load_sample_images().images, strict=True))


def part_of(*arrays: np.ndarray) -> Part:
    return Part(array_split(np.stack(arrays), np.arange(len(arrays)), "train"), np.arange(len(arrays)))


def files(*paths: Path) -> Part:
    names = [str(p) for p in paths]
    return Part(Split(FileImages(names), np.zeros(len(names), np.int64), names), np.arange(len(names)))


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize(("size", "crop_pct"), [(224, 0.875), (96, 0.875), (64, 1.0), (299, 0.897), (97, 0.95)])
@pytest.mark.parametrize("trim", [0, 1, 2, 3])
def test_same_pixels_as_timm(photo: str, interpolation: str, size: int, crop_pct: float, trim: int) -> None:
    """Widths of four parities, so that every rounding of the crop offsets is met; torch rounds some values its way."""
    array = np.ascontiguousarray(PHOTOS[photo][:, trim:])
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    timm = create_transform(
        size, interpolation=interpolation, crop_pct=crop_pct, crop_mode="center", mean=mean, std=std
    )
    expected = timm(Image.fromarray(array))
    pixels = load(part_of(array), math.floor(size / crop_pct), interpolation, crop=size)
    seen = Preprocess(size, mean, std)(pixels.images)[0]
    levels = 255 * torch.tensor(std).view(3, 1, 1) * (seen - expected).abs()
    assert levels.max() < (1e-3 if interpolation == "lanczos" else 2 + 1e-3)
    assert (levels > 1e-3).float().mean() < 0.01


def test_portrait_and_landscape_are_not_mixed_up() -> None:
    tall = np.zeros((40, 20, 3), np.uint8)
    tall[:10] = 255
    images = load(part_of(tall), 20, "nearest").images[0]
    assert images.max() == 0  # the white top lies outside the centre
    assert load(part_of(tall.transpose(1, 0, 2)), 20, "nearest").images.max() == 0


def test_grey_images_fill_three_channels() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    pixels = load(part_of(grey), 8, "bilinear")
    assert torch.equal(pixels.images[0], torch.from_numpy(grey).expand(3, 8, 8))


def test_ids_are_of_the_pixels_and_labels_follow_rows(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    data[3] = data[0]
    split = array_split(data, np.array([5, 6, 7, 8]), "train")
    pixels = load(Part(split, np.array([3, 1, 0])), 8, "bilinear")
    assert pixels.labels.tolist() == [8, 6, 5]
    assert pixels.names == ["train[3]", "train[1]", "train[0]"]
    assert pixels.ids[0] == pixels.ids[2] != pixels.ids[1]
    assert pixels.ids[1] == hashlib.blake2b(data[1].tobytes(), digest_size=16).hexdigest()


def test_files_and_threads_give_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(70)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((9, 11, 3), i, np.uint8)).save(path)
    one, two, default = (load(files(*paths), 8, "bicubic", workers=w) for w in (1, 2, 0))
    assert one.ids == two.ids == default.ids
    assert one.images[:, 0, 0, 0].tolist() == list(range(70))


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    array = np.zeros((16, 32, 3), np.uint8)
    array[:, :16] = 255  # white left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    Image.fromarray(array).save(tmp_path / "turned.png", exif=exif)
    image = to_rgb(Image.open(tmp_path / "turned.png"))
    assert image.size == (16, 32)
    assert image.getpixel((8, 4)) == (255, 255, 255)
    assert image.getpixel((8, 28)) == (0, 0, 0)


def jpegs(folder: Path, n: int, **options: object) -> Part:
    """Crops of a photograph as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(n):
        crop = Image.fromarray(PHOTOS["flower"]).crop((at, 2 * at, at + 200, 2 * at + 150))
        crop.save(folder / f"{at:03}.jpg", **{"quality": 90} | options)
    return files(*sorted(folder.iterdir()))


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0, "quality": 100}, {"progressive": True, "quality": 30}], ids=str
)
def test_jpeg_files_have_the_pixels_that_pillow_gives(options: dict, tmp_path: Path) -> None:
    for path in jpegs(tmp_path, 3, **options).split.images.paths:
        assert np.array_equal(decoded(Image.open(path), enough=100), np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_turned_jpeg_file_is_turned_back(mode: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = Image.fromarray(PHOTOS["china"]).convert(mode)
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    seen = decoded(Image.open(tmp_path / "turned.jpg"), enough=plain.height).astype(int)
    assert seen.shape[:2] == (plain.height, plain.width)
    assert np.abs(seen - np.asarray(plain)).mean() < 3


@pytest.mark.parametrize(("stored", "size"), [(256, (1020, 680)), (160, (510, 340)), (80, (255, 170))])
def test_a_large_jpeg_file_is_decoded_at_a_fraction_that_nobody_sees(
    stored: int, size: tuple[int, int], tmp_path: Path
) -> None:
    """On average its values differ from a whole decoding's by less than a level of 255."""
    Image.fromarray(PHOTOS["china"]).resize((3000, 2000), Image.Resampling.LANCZOS).resize((2040, 1360)).save(
        tmp_path / "large.jpg", quality=92
    )
    at_once = decoded(Image.open(tmp_path / "large.jpg"), enough=2 * stored)
    assert at_once.shape[1::-1] == size
    whole = np.asarray(Image.open(tmp_path / "large.jpg"))
    seen, meant = (load(part, stored, "bicubic").images for part in (files(tmp_path / "large.jpg"), part_of(whole)))
    apart = (seen.int() - meant.int()).abs().float()
    assert 0 < apart.mean() < 1


def streamed(part: Part, **options: object) -> Pixels:
    return Pixels(Decoder(part, 64, "bicubic", **options), torch.from_numpy(part.labels), part.ids, part.names)


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_of_images_in_memory(workers: int, tmp_path: Path) -> None:
    part = jpegs(tmp_path, 21)
    ways = [
        loader(pixels, 4, shuffle=True, seed=3, phase="fit", workers=workers if pixels.streamed else 0)
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
    batches = loader(streamed(jpegs(tmp_path, 12)), 2, shuffle=True, seed=0, phase="fit")
    before = threading.active_count()
    iterator = iter(batches)
    next(iterator)
    iterator.close()
    assert len(list(batches)) == 6
    assert threading.active_count() == before


def test_a_streamed_image_that_is_gone_is_named(tmp_path: Path) -> None:
    part = jpegs(tmp_path, 6)
    pixels = streamed(part)
    (tmp_path / "004.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 6 images cannot be read; .*\n.*004\.jpg: there is no such file"):
        list(loader(pixels, 2, shuffle=False, seed=0, phase="fit"))


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_are_pinned(workers: int, tmp_path: Path) -> None:
    part = jpegs(tmp_path, 8)
    for pixels in (load(part, 64, "bicubic"), streamed(part)):
        for images, labels, _ in loader(pixels, 4, shuffle=True, seed=0, phase="fit", workers=workers, pin_memory=True):
            assert images.is_pinned()
            assert labels.is_pinned()
        for images in pixels.batches(torch.arange(8), 4, pin=True):
            assert images.is_pinned()
            assert torch.equal(images.to("cuda", non_blocking=True).cpu(), images)


def saved(image: Image.Image, path: Path, **options: object) -> Image.Image:
    image.save(path, **options)
    return Image.open(path)


def test_odd_modes_become_rgb(tmp_path: Path) -> None:
    values = np.array([[0, 65535], [32768, 257]], np.uint16)
    deep = to_rgb(saved(Image.fromarray(values), tmp_path / "deep.png"))
    assert np.asarray(deep).tolist() == [[0, 255], [128, 1]]

    clear = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    assert list(to_rgb(saved(clear, tmp_path / "clear.png")).get_flattened_data()) == [
        (255,) * 3,
        (10, 20, 30),
    ]

    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 0, 200, 0])
    palette.putpixel((1, 0), 1)
    seen = to_rgb(saved(palette, tmp_path / "palette.png", transparency=0))
    assert list(seen.get_flattened_data()) == [(255, 255, 255), (0, 200, 0)]

    cmyk = to_rgb(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "cmyk.jpg", quality=100))
    red, green, blue = cmyk.getpixel((4, 4))
    assert (cmyk.mode, red > 240, green < 15, blue < 15) == ("RGB", True, True, True)

    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    assert to_rgb(Image.open(tmp_path / "moves.gif")).getpixel((1, 1)) == (255, 0, 0)
    assert to_rgb(Image.new("1", (2, 2), 1)).getpixel((0, 0)) == 255
    with pytest.raises(ValueError, match="floating-point"):
        to_rgb(Image.new("F", (2, 2)))
    with pytest.raises(ValueError, match="16 bits"):
        to_rgb(Image.new("I", (2, 2), 70_000))


def test_every_unreadable_file_is_named_and_none_replaced(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.new("RGB", (9, 9)).save(good)
    photo = tmp_path / "cut.jpg"
    Image.fromarray(PHOTOS["china"]).save(photo)
    photo.write_bytes(photo.read_bytes()[:20_000])
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(UserError) as caught:
        load(
            files(photo, good, tmp_path / "zero.png", tmp_path / "text.jpg", tmp_path / "gone.jpg"),
            8,
            "bilinear",
        )
    message = str(caught.value)
    assert message.startswith("4 of 5 images cannot be read")
    assert all(name in message for name in ("cut.jpg", "zero.png", "text.jpg", "gone.jpg"))
    assert "good.png" not in message
    with pytest.raises(UserError) as caught:
        load(files(*[tmp_path / f"gone{i:02d}.jpg" for i in range(40)]), 8, "bilinear", workers=2)
    assert "40 of 40" in str(caught.value)
    assert str(caught.value).count("gone") == 10


def test_unknown_interpolation() -> None:
    with pytest.raises(UserError, match="interpolation 'cubic' is unknown; use one of: nearest"):
        load(part_of(np.zeros((8, 8), np.uint8)), 8, "cubic")


@pytest.mark.parametrize(("storage", "free", "streamed"), [
    ("auto", 1e9, False), ("auto", 1e6, True), ("stream", 1e9, True), ("memory", 4e6, False)
])  # fmt: skip
def test_auto_streams_what_would_fill_more_than_half_of_the_memory(
    storage: str, free: float, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.data.reading.free_memory", lambda: free)  # 200 images of 73 px take 3.2 MB
    assert prepared(storage=storage).streamed is streamed
    monkeypatch.setattr("headstart.data.reading.free_memory", lambda: 3e6)
    with pytest.raises(UserError, match=r"data.storage=memory: .* use data.storage=stream"):
        prepared(storage="memory")


def pixels_of(n: int) -> Pixels:
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, 4, 4).contiguous()
    return Pixels(images, torch.arange(n) * 10, [f"id{i}" for i in range(n)], [f"n{i}" for i in range(n)])


def epoch_of(epoch: int, **options) -> list[int]:
    batches = loader(pixels_of(40), 16, **{"shuffle": True, "seed": 1, "phase": "fit"} | options)
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


def settings_of(**changes: object) -> object:
    base = {
        "source": {"_target_": "headstart.data.sources.digits"},
        "train_per_class": 10,
        "train_fraction": None,
    }
    base |= {
        "storage": "auto",
        "n_train": None,
        "n_test": 100,
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "split_seed": 0,
    }
    return type("Config", (), base | changes)()


def prepared(**changes: object) -> Data:
    return prepare(settings_of(**changes), image_size=64, crop_pct=0.875, interpolation="bicubic")


def test_prepare() -> None:
    data = prepared()
    assert data.sizes == {"train": 80, "val": 20, "test": 100}
    assert "test" not in vars(data)  # not read before it is asked for
    assert data.train.images.shape == (80, 3, 73, 73)
    assert data.adaptations == ["grey images repeated to 3 channels", "8 px images resized up to 73 px"]
    assert len(data.parts["train"].split) == 80  # the rest of the source is let go
    assert data.test is data.test
    full = sources.digits().train
    row = int(data.train.names[0][6:-1])
    expected = load(Part(full, np.array([row])), 73, "bicubic", crop=64)
    assert data.train.ids[0] == expected.ids[0]


def test_digest_follows_the_parts() -> None:
    assert prepared().digest == prepared().digest
    assert len({prepared(split_seed=s, n_test=n).digest for s, n in ((0, 100), (1, 100), (0, 99))}) == 3


MEMORY = """
import re
from pathlib import Path
import numpy as np
from headstart.data.loading import load
from headstart.data.sources import array_split
from headstart.data.splits import Part
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
def part(n): return Part(array_split(np.zeros((64, 28, 28), np.uint8), np.zeros(64), "t"), np.arange(n) % 64)
load(part(64), 110, "bicubic", workers=2)  # imports and thread stacks
n, size = 4000, 110
before = peak()
pixels = load(part(n), size, "bicubic", workers=2, crop=96)
print((peak() - before) / pixels.images.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_little_more_than_the_images() -> None:
    """By VmHWM, since a child's ru_maxrss starts at its parent's."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) <= 1.3


def makers(pixels: Pixels, size: int) -> list[bool]:
    """Of each batch, whether the thread that asks for it makes it; batches are compared with the images."""
    made, take = [], pixels.take
    pixels.take = lambda rows: made.append(threading.current_thread()) or take(rows)  # type: ignore[method-assign]
    for images, _, rows in loader(pixels, size, shuffle=True, seed=0, phase="all"):
        assert torch.equal(images, take(rows))
    return [maker is threading.current_thread() for maker in made]


@pytest.mark.parametrize(("side", "ahead"), [(224, True), (8, False)])
def test_large_batches_are_made_ahead_of_their_use_and_small_ones_when_asked_for(side: int, ahead: bool) -> None:
    images = torch.randint(0, 256, (40, 3, side, side), dtype=torch.uint8)
    pixels = Pixels(images, torch.arange(40), [str(at) for at in range(40)], [""] * 40)
    assert makers(pixels, 8) == [True, *[not ahead] * 4], "the first tells how large they are"


def test_streamed_batches_of_any_size_are_decoded_ahead_of_their_use(tmp_path: Path) -> None:
    assert makers(streamed(jpegs(tmp_path, 12)), 2) == [False] * 6
