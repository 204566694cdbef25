"""Image files, folders and arrays for the tests of this room, and the parts that they make."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from conftest import compose
from headstart.data.dataset import Data, prepare
from headstart.data.loader import Pixels
from headstart.data.reader import ImageReader
from headstart.data.source import FileImages, Source, Split, array_split
from headstart.data.splits import Part

SOUND = {"train": 5, "val": 3, "test": 4}  # images a class
PHOTOS = dict(zip(("china", "flower"), load_sample_images().images, strict=True))


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


def part_of(*arrays: np.ndarray) -> Part:
    return Part(array_split(np.stack(arrays), np.arange(len(arrays)), "train"), np.arange(len(arrays)))


def load(part: Part, size: int, interpolation: str, workers: int = 0, crop: int | None = None) -> Pixels:
    """A part with all its images read."""
    images = ImageReader(part, size, interpolation, workers, crop).read_all()
    return Pixels(images, torch.from_numpy(part.labels), part.ids, part.names)


def files(*paths: Path) -> Part:
    names = [str(p) for p in paths]
    return Part(Split(FileImages(names), np.zeros(len(names), np.int64), names), np.arange(len(names)))


def jpegs(folder: Path, n: int, **options: object) -> Part:
    """Crops of a photograph as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(n):
        crop = Image.fromarray(PHOTOS["flower"]).crop((at, 2 * at, at + 200, 2 * at + 150))
        crop.save(folder / f"{at:03}.jpg", **{"quality": 90} | options)
    return files(*sorted(folder.iterdir()))


def streamed(part: Part, **options: object) -> Pixels:
    return Pixels(ImageReader(part, 64, "bicubic", **options), torch.from_numpy(part.labels), part.ids, part.names)


def write_image(path: Path, value: int = 0, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 255 - value, 7)).save(path)


def check_source(source: Source) -> None:
    for split in filter(None, (source.train, source.val, source.test)):
        assert split.labels.dtype == np.int64
        assert len(split.images) == len(split.labels) == len(split.names)
        assert split.labels.min() >= 0
        assert split.labels.max() < len(source.classes)
