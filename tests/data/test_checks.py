"""Bad images, bad file names, counts that differ: named before training starts, left out only where that is asked."""

import csv
import gzip
import json
import logging
import os
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from conftest import compose
from headstart import runs
from headstart.config import plain
from headstart.data import Data, catalogue, prepare, sources
from headstart.data.checks import Decodable
from headstart.data.decoding import ORIENTATION, _shortened, is_sound_photo
from headstart.data.loading import load, loader
from headstart.data.names import readable
from headstart.data.sources import FileImages, Source, Split, array_split
from headstart.data.splits import Part, cut
from headstart.errors import UserError

SOUND = {"train": 5, "val": 3, "test": 4}  # images a class


def picture(seed: int, size: tuple[int, int] = (20, 16)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def folder(root: Path) -> Path:
    """Two classes in train, val and test folders; no two images are the same."""
    seed = 0
    for part, count in SOUND.items():
        for name in "ab":
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                seed += 1
                picture(seed).save(root / part / name / f"{i}.png")
    return root


def read(root: Path, **changes: object) -> Data:
    config = compose("data=image_folder", f"data.source.root={root}").data
    return prepare(replace(config, **changes), image_size=16, crop_pct=1.0, interpolation="bilinear")


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and where its pixels would begin."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    return head + struct.pack(">I", 10) + b"IDAT"


def truncated(path: Path) -> None:
    picture(7, (200, 160)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-3000])


def cut_short(path: Path) -> None:
    """A file that is small enough to be looked at by libjpeg alone."""
    picture(7, (40, 30)).save(path, "JPEG")
    assert is_sound_photo(str(path), 32)
    path.write_bytes(path.read_bytes()[:-300])


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, "image file is truncated"),
    "cut short": (cut_short, "image file is truncated"),
    "zero-byte": (lambda path: path.write_bytes(b""), "no image in a format that Pillow knows"),
    "text named jpg": (lambda path: path.write_text("an image, believe me"), "no image in a format"),
    "bomb": (lambda path: path.write_bytes(png_header(40_000, 40_000)), "178,956,970 pixels.*decompression bomb"),
    "float": (lambda path: Image.new("F", (9, 9)).save(path, "TIFF"), "floating-point pixels"),
}


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("part", SOUND)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_image_is_named_with_its_part_and_the_fix(fault: str, part: str, storage: str, tmp_path: Path) -> None:
    make, reason = FAULTS[fault]
    make(folder(tmp_path) / part / "a" / "bad.jpg")
    with pytest.raises(UserError, match=rf"(?s)1 of \d+ {part} images cannot be read.*bad\.jpg: .*{reason}") as caught:
        read(tmp_path, storage=storage).check("raise", None)
    assert "data.on_bad_image=skip" in str(caught.value)
    assert "0.png" not in str(caught.value)


def test_only_plain_photographs_are_left_to_libjpeg_alone(tmp_path: Path) -> None:
    image, turned = picture(7, (40, 30)), Image.Exif()
    turned[ORIENTATION] = 6
    kinds = {
        "plain.jpg": {},
        "turned.jpg": {"exif": turned},
        "profile.jpg": {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()},
        "other.png": {},
    }
    for name, options in kinds.items():
        image.save(tmp_path / name, **options)
    image.convert("L").save(tmp_path / "grey.jpg")
    image.convert("CMYK").save(tmp_path / "print.jpg")
    image.resize((80, 64)).save(tmp_path / "large.jpg")
    plain = (tmp_path / "plain.jpg").read_bytes()
    scan = plain.index(b"\xff\xda")
    for name, place in {"early": 20, "late": scan}.items():  # Pillow refuses a torn profile, libjpeg skips it
        (tmp_path / f"{name}.jpg").write_bytes(plain[:place] + b"\xff\xe2\0\x0eICC_PROFILE\0" + plain[place:])
    names = sorted([path.name for path in tmp_path.iterdir()] + ["gone.jpg"])
    assert [name for name in names if is_sound_photo(str(tmp_path / name), 32)] == ["plain.jpg"]


def test_all_bad_images_of_all_parts_are_told_at_once(tmp_path: Path) -> None:
    folder(tmp_path)
    for i in range(12):
        (tmp_path / "train" / "b" / f"bad{i:02}.jpg").write_bytes(b"")
    (tmp_path / "test" / "a" / "worse.jpg").write_bytes(b"no")
    with pytest.raises(UserError) as caught:
        read(tmp_path).check("raise", None)
    message = str(caught.value)
    assert "12 of 22 train images and 1 of 9 test images" in message
    assert message.count("/bad") == 10
    assert "worse.jpg" in message


@pytest.mark.parametrize("choice", ["raise", "skip"])
def test_a_bad_test_image_is_never_left_out(choice: str, tmp_path: Path) -> None:
    truncated(folder(tmp_path) / "test" / "b" / "bad.jpg")
    with pytest.raises(UserError, match=r"(?s)1 of 9 test images cannot be read.*bad\.jpg"):
        read(tmp_path).check(choice, tmp_path / "cache")


def test_skip_leaves_out_and_replaces_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clean = read(folder(tmp_path / "set"))
    assert clean.digest
    bad = [tmp_path / "set" / "train" / "a" / "3x.jpg", tmp_path / "set" / "val" / "b" / "0x.jpg"]
    for path in bad:
        truncated(path)
    for attempt in ("cold", "warm"):  # the second finds the sound images in the cache
        caplog.clear()
        data = read(tmp_path / "set")
        data.check("skip", tmp_path / "cache")
        assert data.skipped == {"train": [str(bad[0])], "val": [str(bad[1])]}, attempt
        assert data.sizes == clean.sizes
        assert data.digest == read(tmp_path / "set").digest != clean.digest  # the bad images are content too
        for name in SOUND:
            seen, meant = getattr(data, name), getattr(clean, name)
            assert (seen.ids, seen.names, seen.labels.tolist()) == (meant.ids, meant.names, meant.labels.tolist())
            assert torch.equal(seen.images, meant.images)
        assert "1 of 11 train images are left out" in caplog.text
        assert all(str(path) in caplog.text for path in bad)


def test_skip_keeps_every_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder(tmp_path)
    for i in range(SOUND["val"]):
        (tmp_path / "val" / "a" / f"{i}.png").write_bytes(b"")
    data = read(tmp_path)
    data.check("skip", None)
    assert (data.sizes["val"], data.val.labels.tolist()) == (3, [1, 1, 1])
    assert "classes without an image in val now: a" in caplog.text
    for i in range(SOUND["val"]):
        (tmp_path / "val" / "b" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match="every val image is bad"):
        read(tmp_path).check("skip", None)
    for i in range(SOUND["train"]):
        (tmp_path / "train" / "b" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match="every train image of class 'b' is bad"):
        read(tmp_path).check("skip", None)


def test_what_was_decoded_once_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plainly = FileImages.__getitem__

    def counted(self: FileImages, index: int) -> Image.Image:
        opened.append(self.paths[index])
        return plainly(self, index)

    monkeypatch.setattr(FileImages, "__getitem__", counted)
    folder(tmp_path / "set")
    data = read(tmp_path / "set")
    data.check("raise", tmp_path / "cache")
    assert len(opened) == sum(data.sizes.values()) == 24
    assert all(getattr(data, name).images.shape[0] == size for name, size in data.sizes.items())
    assert len(opened) == 24  # the check's pixels are kept
    assert data.test.seconds > 0  # and paid for by whoever needs them first

    opened.clear()
    read(tmp_path / "set").check("raise", tmp_path / "cache")
    assert opened == []
    picture(99).save(tmp_path / "set" / "test" / "a" / "0.png")
    read(tmp_path / "set").check("raise", tmp_path / "cache")
    assert opened == [str(tmp_path / "set" / "test" / "a" / "0.png")]  # by content, not by name


@pytest.mark.parametrize("harm", ["cut short", "one byte", "empty"])
def test_a_damaged_memory_of_good_images_is_not_believed(harm: str, tmp_path: Path) -> None:
    memory = Decodable(tmp_path)
    memory.write({"00" * 16, "ab" * 16})
    assert memory.read() == {"00" * 16, "ab" * 16}
    (path,) = tmp_path.rglob("*.ids")
    content = path.read_bytes()
    path.write_bytes({"cut short": content[:16], "one byte": content[:-1] + b"x", "empty": b""}[harm])
    assert memory.read() == set()
    assert Decodable(None).read() == set()


def test_a_memory_that_cannot_be_written_costs_the_memory_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    read(folder(tmp_path / "set")).check("raise", tmp_path / "file")
    assert "the next run checks its images again: cannot write" in caplog.text


def test_the_choice_is_part_of_the_identity() -> None:
    both = (compose("data=digits", f"data.on_bad_image={choice}") for choice in ("raise", "skip"))
    assert len({runs.identity(plain(config), {}) for config in both}) == 2
    with pytest.raises(UserError, match=r"data\.on_bad_image=skp: must be one of raise, skip; did you mean skip\?"):
        compose("data.on_bad_image=skp")


def test_duplicates_between_test_and_the_others_are_found_by_content(tmp_path: Path) -> None:
    folder(tmp_path)
    for i, target in enumerate(("train/a/new.png", "train/b/again.png", "val/a/copy.png")):
        (tmp_path / target).write_bytes((tmp_path / "test" / "a" / f"{i // 2}.png").read_bytes())
    found = read(tmp_path).duplicates
    names = {key: [tuple(Path(name).name for name in pair) for pair in pairs] for key, pairs in found.items()}
    assert names == {"train_test": [("0.png", "new.png")], "val_test": [("1.png", "copy.png")]}


def test_duplicates_in_arrays_are_found_by_pixels() -> None:
    pixels = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2)
    test = 255 - pixels[:10, ::-1]
    test[3], test[7] = pixels[30], pixels[30]
    labels = np.arange(40) % 2
    parts = cut(Source(("a", "b"), array_split(pixels, labels, "train"), None, array_split(test, labels[:10], "test")))
    data = Data(("a", "b"), parts, image_size=8, stored_size=8, interpolation="bilinear", workers=0)
    key = "train_test" if 30 in parts["train"].rows else "val_test"
    assert data.duplicates[key] == [("test[3]", "train[30]"), ("test[7]", "train[30]")]
    assert sum(map(len, data.duplicates.values())) == 2


ODD_NAMES = (
    b"two words.png",
    b'it\'s "quoted".png',
    b"new\nline.png",
    b"not utf-8 \xff\xfe.png",
    b"-rf.png",
    "🦉 сова.png".encode(),
    b"l" * 251 + b".png",
    b"100%s {x}.png",
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain 🦉 сова.png", "plain 🦉 сова.png"),
        ("new\nline\r\t", r"new\nline\r\t"),
        (os.fsdecode(b"a\xff\xfe"), r"a\xff\xfe"),
        ("\u2028\x7f\x00", r"\u2028\x7f\x00"),
    ],
)
def test_names_become_readable(name: str, shown: str) -> None:
    assert readable(name) == shown
    assert readable(shown) == shown
    shown.encode("utf-8")


def test_a_whole_run_on_odd_names_with_bad_images_and_duplicates(
    tmp_path: Path, run_small: Callable[..., dict], caplog: pytest.LogCaptureFixture
) -> None:
    """Everything that is written can be read back as UTF-8, and says what was left out."""
    caplog.set_level(logging.INFO)
    root = folder(tmp_path / "set")
    for seed, name in enumerate(ODD_NAMES):
        for part in ("train", "test"):
            picture(seed + (100 if part == "train" else 200)).save(root / part / "a" / os.fsdecode(name), "PNG")
    (root / "train" / "a" / "bad\nname.png").write_bytes(b"")
    (root / "train" / "b" / "copy.png").write_bytes((root / "test" / "b" / "0.png").read_bytes())
    asked = ("data=image_folder", f"data.source.root={root}", "data.train_per_class=null", "data.n_test=null")
    result = run_small(*asked, "data.on_bad_image=skip")
    written = json.loads((result["folder"] / "result.json").read_text("utf-8"))
    assert written["skipped"] == {"train": [f"{root}/train/a/bad\\nname.png"], "val": []}
    assert written["duplicates"] == {"train_test": 1, "val_test": 0}
    assert written["n_train"] == 2 * SOUND["train"] + len(ODD_NAMES) + 1
    seconds = written["seconds"]  # what reading the images took is counted once
    assert seconds["test"] > 0
    assert 0 < seconds["features"] < seconds["features"] + seconds["fit"] + seconds["test"] < seconds["total"]
    with (result["folder"] / "predictions.csv").open(newline="", encoding="utf-8") as text:
        names = {Path(row["name"]).name for row in csv.DictReader(text)}
    assert names >= {readable(os.fsdecode(name)) for name in ODD_NAMES}
    log = (result["folder"] / "train.log").read_text("utf-8")
    assert "1 of 20 train images are left out" in log
    assert f"{root}/test/b/0.png  =  {root}/train/b/copy.png" in log
    with pytest.raises(UserError, match=r"1 of 20 train images cannot be read"):
        run_small(*asked)


def test_a_class_may_have_an_odd_name_too(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"new\nline"):
        place = tmp_path / os.fsdecode(name)
        place.mkdir()
        picture(1).save(place / "1.png")
    assert sources.image_folder(str(tmp_path)).classes == (r"caf\xe9", r"new\nline")


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "train" / "a" / "self.png").symlink_to("self.png")
    (root / "train" / "b" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "val" / "a" / "pipe.png")
    with pytest.raises(UserError, match=r"(?s)3 of 27 image files do not exist.*self\.png.*gone\.png.*pipe\.png"):
        sources.image_folder(str(root))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\ncafé.png,a\n".encode("latin-1"), "cannot be read as a CSV file in UTF-8"),
        (b'path,label\n"' + b"x" * 200_000 + b'",a\n', "field larger than"),
        (b"path,label\n" + b"x" * 300 + b".png,a\ny.png,b\n", "2 of 2 image files do not exist"),
        (b"path,label\nnew\\\x00.png,a\ny.png,b\n", "2 of 2 image files do not exist|cannot be read as a CSV"),
    ],
)
def test_bad_tables_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        sources.csv(str(tmp_path / "table.csv"))


def test_numbers_of_images_and_labels_must_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="3 images but 2 labels"):
        array_split(np.zeros((3, 2, 2), np.uint8), np.array([0, 1]), "train")
    with pytest.raises(UserError, match="1 image files but 2 labels"):
        catalogue._pairs(["a.png"], np.array([0, 1]))

    def idx(name: str, shape: tuple[int, ...]) -> None:
        head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        with gzip.open(tmp_path / name, "wb") as file:
            file.write(head + bytes(int(np.prod(shape))))

    monkeypatch.setattr(sources, "FASHION_FOLDER", tmp_path)
    idx("train-images-idx3-ubyte.gz", (3, 28, 28))
    idx("train-labels-idx1-ubyte.gz", (2,))
    with pytest.raises(UserError, match="3 train images but 2 labels"):
        sources.fashion_mnist()


def test_a_damaged_gzip_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FASHION_FOLDER", tmp_path)
    content = gzip.compress(
        bytes([0, 0, 8, 1]) + np.array([5000], ">u4").tobytes() + np.random.default_rng(0).bytes(5000)
    )
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content[:12] + b"\xff" * 40 + content[52:])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz cannot be read"):
        sources.fashion_mnist()


def test_one_class_is_refused_whatever_the_source() -> None:
    with pytest.raises(UserError, match="only one class \\('a'\\)"):
        cut(Source(("a",), array_split(np.zeros((9, 2, 2), np.uint8), np.zeros(9), "train")))


def test_a_class_without_training_images_is_named() -> None:
    held = array_split(np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 2]), "test")
    train = array_split(np.zeros((8, 2, 2), np.uint8), np.arange(8) % 2, "train")
    with pytest.raises(UserError, match="class 'c' has 0 training images"):
        cut(Source(("a", "b", "c"), train, None, held))


def part_of(*paths: Path) -> Part:
    names = [str(path) for path in paths]
    return Part(Split(FileImages(names), np.zeros(len(names), np.int64), names), np.arange(len(names)))


def test_tiny_and_endless_images_fill_the_square(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 200, 30)).save(tmp_path / "1.png")
    Image.new("RGB", (1, 60_000), (10, 200, 30)).save(tmp_path / "2.png")
    Image.new("RGB", (60_000, 1), (10, 200, 30)).save(tmp_path / "3.png")
    images = load(part_of(*(tmp_path / f"{i}.png" for i in (1, 2, 3))), 256, "bicubic", crop=224).images
    assert (images == torch.tensor([10, 200, 30]).view(1, 3, 1, 1)).all()


def test_a_long_strip_is_cut_before_it_is_resized() -> None:
    """Resized whole to 256 x 15,360,000 pixels, it would take 16 GB."""
    sizes = ((1, 60_000), (60_000, 1), (30, 480), (30, 481))
    assert [_shortened(np.zeros(size)).shape for size in sizes] == [(1, 16), (16, 1), (30, 480), (30, 480)]


def test_the_middle_of_a_long_strip_is_kept(tmp_path: Path) -> None:
    strip = np.zeros((10, 1000), np.uint8)
    strip[:, 495:505] = 255
    Image.fromarray(strip).save(tmp_path / "strip.png")
    assert load(part_of(tmp_path / "strip.png"), 10, "nearest").images.min() == 255


def test_a_large_image_is_read_without_a_warning_and_a_bomb_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path)
    limit = 20 * 16  # pixels of each
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit - 1)
        data = read(root)
        data.check("raise", None)
        assert data.adaptations == []
        assert [warning for warning in seen if issubclass(warning.category, Image.DecompressionBombWarning)] == []
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(root / "train" / "a" / "0.png")  # Pillow would have said so
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit // 2 - 1)
    with pytest.raises(UserError, match=r"(?s)10 of 10 train images .*0\.png: more than 318 pixels"):
        read(root).check("raise", None)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_odd_kinds_of_files_are_read_as_seen(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    moving = [Image.new("RGBA", (8, 8), color) for color in ("red", "blue")]
    half = Image.new("LA", (8, 8), (100, 0))
    cases: dict[Path, tuple[int, int, int]] = {
        saved(deep, tmp_path / "deep.tif"): (128, 128, 128),
        saved(moving[0], tmp_path / "moving.webp", save_all=True, append_images=moving[1:], lossless=True): (255, 0, 0),
        saved(moving[0], tmp_path / "moving.png", save_all=True, append_images=moving[1:]): (255, 0, 0),
        saved(half, tmp_path / "clear.png"): (255, 255, 255),
        saved(Image.new("1", (8, 8), 1), tmp_path / "bits.tif"): (255, 255, 255),
    }
    images = load(part_of(*cases), 8, "bilinear").images
    assert [tuple(image[:, 4, 4].tolist()) for image in images] == list(cases.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03"])
def test_broken_exif_data_does_not_cost_the_image(exif: bytes, tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (8, 8), "white"), tmp_path / "photo.jpg", exif=b"Exif\0\0" + exif)
    assert load(part_of(path), 8, "bilinear").images.min() > 250


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_class_that_a_part_misses_is_told(part: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path)
    shutil.rmtree(root / part / "b")
    assert sources.image_folder(str(root)).classes == ("a", "b")
    assert f"classes without an image in {part}: b" in caplog.text


def test_a_class_only_in_validation_is_refused_in_a_table_too(tmp_path: Path) -> None:
    for name in "abc":
        picture(1).save(tmp_path / f"{name}.png")
    (tmp_path / "table.csv").write_text("path,label,split\na.png,1,train\nb.png,2,train\nc.png,3,val\n")
    with pytest.raises(UserError, match="classes in val but not in train: 3"):
        sources.csv(str(tmp_path / "table.csv"))


def test_workers_do_not_read_the_images_again(tmp_path: Path) -> None:
    pixels = read(folder(tmp_path)).train
    loader(pixels, 4, shuffle=True, seed=0, phase="fit", workers=1)
    assert isinstance(vars(pixels)["_images"], torch.Tensor)
