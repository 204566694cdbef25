"""Bad images and duplicates: named before training starts, left out only where that is asked."""

import csv
import json
import logging
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import SOUND, folder, picture, read
from headstart.data.checks import Decodable, check_images, find_duplicates, warn_of_duplicates
from headstart.data.dataset import Data
from headstart.data.decode import is_sound_photo
from headstart.data.filenames import escape_name
from headstart.data.source import FileImages, Source, array_split
from headstart.data.splits import split_source
from headstart.errors import UserError


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
    "float": (lambda path: Image.new("F", (9, 9)).save(path, "TIFF"), "more than 8 bits a pixel"),
    # opens for everybody and cannot be read, even by root, who may read a file without permissions
    "unreadable": (lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
}


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("part", SOUND)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_image_is_named_with_its_part_and_the_fix(fault: str, part: str, storage: str, tmp_path: Path) -> None:
    make, reason = FAULTS[fault]
    make(folder(tmp_path) / part / "a" / "bad.jpg")
    with pytest.raises(UserError, match=rf"(?s)1 of \d+ {part} images cannot be read.*bad\.jpg: .*{reason}") as caught:
        check_images(read(tmp_path, storage=storage), "raise", None)
    assert "data.on_bad_image=skip" in str(caught.value)
    assert "0.png" not in str(caught.value)


def test_all_bad_images_of_all_parts_are_told_at_once(tmp_path: Path) -> None:
    folder(tmp_path)
    for i in range(12):
        (tmp_path / "train" / "b" / f"bad{i:02}.jpg").write_bytes(b"")
    (tmp_path / "test" / "a" / "worse.jpg").write_bytes(b"no")
    with pytest.raises(UserError) as caught:
        check_images(read(tmp_path), "raise", None)
    message = str(caught.value)
    assert "12 of 22 train images and 1 of 9 test images" in message
    assert message.count("/bad") == 10
    assert "worse.jpg" in message


@pytest.mark.parametrize("choice", ["raise", "skip"])
def test_a_bad_test_image_is_never_left_out(choice: str, tmp_path: Path) -> None:
    truncated(folder(tmp_path) / "test" / "b" / "bad.jpg")
    with pytest.raises(UserError, match=r"(?s)1 of 9 test images cannot be read.*bad\.jpg"):
        check_images(read(tmp_path), choice, tmp_path / "cache")


def test_skip_leaves_out_and_replaces_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clean = read(folder(tmp_path / "set"))
    assert clean.digest
    bad = [tmp_path / "set" / "train" / "a" / "3x.jpg", tmp_path / "set" / "val" / "b" / "0x.jpg"]
    for path in bad:
        truncated(path)
    for attempt in ("cold", "warm"):  # the second finds the sound images in the cache
        caplog.clear()
        data = read(tmp_path / "set")
        check_images(data, "skip", tmp_path / "cache")
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
    check_images(data, "skip", None)
    assert (data.sizes["val"], data.val.labels.tolist()) == (3, [1, 1, 1])
    assert "classes without an image in val now: a" in caplog.text
    for i in range(SOUND["val"]):
        (tmp_path / "val" / "b" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match="every val image is bad"):
        check_images(read(tmp_path), "skip", None)
    for i in range(SOUND["train"]):
        (tmp_path / "train" / "b" / f"{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match="every train image of class 'b' is bad"):
        check_images(read(tmp_path), "skip", None)


def test_what_was_decoded_once_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plainly = FileImages.__getitem__

    def counted(self: FileImages, index: int) -> Image.Image:
        opened.append(self.paths[index])
        return plainly(self, index)

    monkeypatch.setattr(FileImages, "__getitem__", counted)
    folder(tmp_path / "set")
    data = read(tmp_path / "set")
    check_images(data, "raise", tmp_path / "cache")
    assert len(opened) == sum(data.sizes.values()) == 24
    assert all(getattr(data, name).images.shape[0] == size for name, size in data.sizes.items())
    assert len(opened) == 24  # the check's pixels are kept
    assert data.test.claim_reading_seconds() > 0  # and their time counts where they are needed first
    assert data.test.claim_reading_seconds() == 0

    opened.clear()
    check_images(read(tmp_path / "set"), "raise", tmp_path / "cache")
    assert opened == []
    picture(99).save(tmp_path / "set" / "test" / "a" / "0.png")
    check_images(read(tmp_path / "set"), "raise", tmp_path / "cache")
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
    check_images(read(folder(tmp_path / "set")), "raise", tmp_path / "file")
    assert "the next run checks its images again: cannot write" in caplog.text


def test_duplicates_between_test_and_the_others_are_found_by_content(tmp_path: Path) -> None:
    folder(tmp_path)
    for i, target in enumerate(("train/a/new.png", "train/b/again.png", "val/a/copy.png")):
        (tmp_path / target).write_bytes((tmp_path / "test" / "a" / f"{i // 2}.png").read_bytes())
    found = find_duplicates(read(tmp_path).parts, "ab")
    two_labels = found.pop("two_labels")
    names = {key: [tuple(Path(name).name for name in pair) for pair in pairs] for key, pairs in found.items()}
    assert names == {"train_test": [("0.png", "new.png")], "val_test": [("1.png", "copy.png")]}
    (pair,) = two_labels
    assert pair == (f"{tmp_path}/train/a/new.png (a, train)", f"{tmp_path}/train/b/again.png (b, train)")


@pytest.mark.parametrize("part", SOUND)
def test_the_same_image_under_two_labels_is_named_with_both(
    part: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder(tmp_path)
    for i in range(3):
        (tmp_path / part / "b" / f"copy{i}.png").write_bytes((tmp_path / "train" / "a" / f"{i}.png").read_bytes())
    (tmp_path / part / "a" / "same_label.png").write_bytes((tmp_path / "train" / "a" / "4.png").read_bytes())
    found = find_duplicates(read(tmp_path).parts, ("cats", "dogs\n"))
    copies = [f"{tmp_path}/{part}/b/copy{i}.png (dogs\\n, {part})" for i in range(3)]
    assert found["two_labels"] == [(f"{tmp_path}/train/a/{i}.png (cats, train)", copies[i]) for i in range(3)]
    warn_of_duplicates({"two_labels": found["two_labels"]})
    assert "3 images have another label than the same image, byte for byte, elsewhere:" in caplog.text
    assert all(f"\n    {one}  =  {other}" in caplog.text for one, other in found["two_labels"])


def test_a_pair_under_two_labels_is_listed_once(caplog: pytest.LogCaptureFixture) -> None:
    pairs = [("test/b/1.png", "train/a/1.png"), ("test/a/2.png", "train/a/2.png")]
    labels = [("train/a/1.png (a, train)", "test/b/1.png (b, test)")]
    warn_of_duplicates({"train_test": pairs[1:], "two_labels": []})
    warn_of_duplicates({"train_test": pairs, "two_labels": labels})
    assert "  1 test image stands in train too, byte for byte:\n    test/a/2.png" in caplog.messages[0]
    assert caplog.messages[1].startswith("  2 test images stand in train too, byte for byte:\n    test/a/2.png")
    assert "".join(caplog.messages[1:]).count("test/b/1.png") == 1
    assert "  1 image has another label than the same image" in caplog.messages[2]


def test_duplicates_in_arrays_are_found_by_pixels() -> None:
    pixels = np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2)
    test = 255 - pixels[:10, ::-1]
    test[3], test[7] = pixels[30], pixels[30]
    labels = np.arange(40) % 2
    parts = split_source(
        Source(("a", "b"), array_split(pixels, labels, "train"), None, array_split(test, labels[:10], "test"))
    )
    data = Data(("a", "b"), parts, image_size=8, stored_size=8, interpolation="bilinear", workers=0)
    key = "train_test" if 30 in parts["train"].rows else "val_test"
    found = find_duplicates(data.parts, data.classes)
    assert found.pop(key) == [("test[3]", "train[30]"), ("test[7]", "train[30]")]
    part = key.removesuffix("_test")
    assert found.pop("two_labels") == [(f"train[30] (a, {part})", f"test[{i}] (b, test)") for i in (3, 7)]
    assert not any(found.values())


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
    assert written["duplicates"] == {"train_test": 1, "val_test": 0, "two_labels": 0}
    assert written["n_train"] == 2 * SOUND["train"] + len(ODD_NAMES) + 1
    seconds = written["seconds"]  # what reading the images took is counted once
    assert seconds["test"] > 0
    assert 0 < seconds["features"] < seconds["features"] + seconds["fit"] + seconds["test"] < seconds["total"]
    with (result["folder"] / "predictions.csv").open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    names = {Path(row["name"]).name for row in rows}
    assert all(row["label_name"] == "ab"[int(row["label"])] == Path(row["name"]).parent.name for row in rows)
    assert all(row["predicted_name"] == "ab"[int(row["predicted"])] for row in rows)
    assert names >= {escape_name(os.fsdecode(name)) for name in ODD_NAMES}
    log = (result["folder"] / "train.log").read_text("utf-8")
    assert "1 of 20 train images are left out" in log
    assert "images by class (train + val + test): a (13 + 3 + 12), b (6 + 3 + 4)\n" in log
    assert f"{root}/test/b/0.png  =  {root}/train/b/copy.png" in log
    with pytest.raises(UserError, match=r"1 of 20 train images cannot be read"):
        run_small(*asked)
