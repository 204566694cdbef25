"""One image: odd kinds of files, JPEG files in part, strips; the pixels that a person would see."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from data.images import PHOTOS, files, folder, jpegs, load, part_of, picture, read
from headstart.data.checks import check_images
from headstart.data.decode import ORIENTATION, _cut_strip, decode, describe_fault, is_sound_photo
from headstart.data.deep import turn_upright
from headstart.data.rgb import to_rgb
from headstart.errors import UserError


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


def test_a_fault_is_told_in_words_without_the_name_of_a_class() -> None:
    assert describe_fault(OSError("image file is truncated")) == "image file is truncated"
    assert describe_fault(SyntaxError("broken PNG file")) == "broken PNG file"
    assert describe_fault(ValueError("no", "pixels")) == "('no', 'pixels')"
    assert describe_fault(KeyError(7)) == "KeyError: 7"


def test_tiny_and_endless_images_fill_the_square(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 200, 30)).save(tmp_path / "1.png")
    Image.new("RGB", (1, 60_000), (10, 200, 30)).save(tmp_path / "2.png")
    Image.new("RGB", (60_000, 1), (10, 200, 30)).save(tmp_path / "3.png")
    images = load(files(*(tmp_path / f"{i}.png" for i in (1, 2, 3))), 256, "bicubic", crop=224).images
    assert (images == torch.tensor([10, 200, 30]).view(1, 3, 1, 1)).all()


def test_a_long_strip_is_cut_before_it_is_resized() -> None:
    """Resized whole to 256 x 15,360,000 pixels, it would take 16 GB."""
    sizes = ((1, 60_000), (60_000, 1), (30, 480), (30, 481))
    assert [_cut_strip(np.zeros(size)).shape for size in sizes] == [(1, 16), (16, 1), (30, 480), (30, 480)]


def test_the_middle_of_a_long_strip_is_kept(tmp_path: Path) -> None:
    strip = np.zeros((10, 1000), np.uint8)
    strip[:, 495:505] = 255
    Image.fromarray(strip).save(tmp_path / "strip.png")
    assert load(files(tmp_path / "strip.png"), 10, "nearest").images.min() == 255


def test_a_large_image_is_read_without_a_warning_and_a_bomb_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path)
    limit = 20 * 16  # pixels of each
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit - 1)
        data = read(root)
        check_images(data, "raise", None)
        assert data.adaptations == []
        assert [warning for warning in seen if issubclass(warning.category, Image.DecompressionBombWarning)] == []
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(root / "train" / "a" / "0.png")  # Pillow would have said so
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit // 2 - 1)
    with pytest.raises(UserError, match=r"(?s)10 of 10 train images .*0\.png: more than 318 pixels"):
        check_images(read(root), "raise", None)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_odd_kinds_of_files_are_read_as_seen(tmp_path: Path) -> None:
    moving = [Image.new("RGBA", (8, 8), color) for color in ("red", "blue")]
    half = Image.new("LA", (8, 8), (100, 0))
    cases: dict[Path, tuple[int, int, int]] = {
        saved(moving[0], tmp_path / "moving.webp", save_all=True, append_images=moving[1:], lossless=True): (255, 0, 0),
        saved(moving[0], tmp_path / "moving.png", save_all=True, append_images=moving[1:]): (255, 0, 0),
        saved(half, tmp_path / "clear.png"): (255, 255, 255),
        saved(Image.new("1", (8, 8), 1), tmp_path / "bits.tif"): (255, 255, 255),
    }
    images = load(files(*cases), 8, "bilinear").images
    assert [tuple(image[:, 4, 4].tolist()) for image in images] == list(cases.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03"])
def test_broken_exif_data_does_not_cost_the_image(exif: bytes, tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (8, 8), "white"), tmp_path / "photo.jpg", exif=b"Exif\0\0" + exif)
    assert load(files(path), 8, "bilinear").images.min() > 250


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_a_turned_tiff_is_read_upright(mode: str, compression: str, tmp_path: Path) -> None:
    stored = np.arange(8 * 16, dtype=np.uint16).reshape(8, 16)
    image = Image.fromarray(stored) if mode == "I;16" else Image.fromarray(stored.astype(np.uint8)).convert(mode)
    path = saved(image, tmp_path / "turned.tif", compression=compression, tiffinfo={ORIENTATION: 6})
    seen = np.asarray(turn_upright(Image.open(path)))
    assert np.array_equal(seen if seen.ndim == 2 else seen[..., 0], np.rot90(stored, -1))


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


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0, "quality": 100}, {"progressive": True, "quality": 30}], ids=str
)
def test_jpeg_files_have_the_pixels_that_pillow_gives(options: dict, tmp_path: Path) -> None:
    for path in jpegs(tmp_path, 3, **options).split.images.paths:
        assert np.array_equal(decode(Image.open(path), enough=100), np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_turned_jpeg_file_is_turned_back(mode: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = Image.fromarray(PHOTOS["china"]).convert(mode)
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0)
    seen = decode(Image.open(tmp_path / "turned.jpg"), enough=plain.height).astype(int)
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
    at_once = decode(Image.open(tmp_path / "large.jpg"), enough=2 * stored)
    assert at_once.shape[1::-1] == size
    whole = np.asarray(Image.open(tmp_path / "large.jpg"))
    seen, meant = (load(part, stored, "bicubic").images for part in (files(tmp_path / "large.jpg"), part_of(whole)))
    apart = (seen.int() - meant.int()).abs().float()
    assert 0 < apart.mean() < 1


def reopened(image: Image.Image, path: Path, **options: object) -> Image.Image:
    image.save(path, **options)
    return Image.open(path)


def test_odd_modes_become_rgb(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    assert list(to_rgb(reopened(clear, tmp_path / "clear.png")).get_flattened_data()) == [
        (255,) * 3,
        (10, 20, 30),
    ]

    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 0, 200, 0])
    palette.putpixel((1, 0), 1)
    seen = to_rgb(reopened(palette, tmp_path / "palette.png", transparency=0))
    assert list(seen.get_flattened_data()) == [(255, 255, 255), (0, 200, 0)]

    cmyk = to_rgb(reopened(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "cmyk.jpg", quality=100))
    red, green, blue = cmyk.getpixel((4, 4))
    assert (cmyk.mode, red > 240, green < 15, blue < 15) == ("RGB", True, True, True)

    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    assert to_rgb(Image.open(tmp_path / "moves.gif")).getpixel((1, 1)) == (255, 0, 0)
    assert to_rgb(Image.new("1", (2, 2), 1)).getpixel((0, 0)) == 255
    for mode in ("F", "I", "I;16"):
        with pytest.raises(ValueError, match="more than 8 bits a pixel"):
            to_rgb(Image.new(mode, (2, 2)))
