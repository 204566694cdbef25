"""Pictures of the images of a run: a contact sheet of each class, and what augmentation makes of some images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from unicodedata import normalize

import numpy as np
import torch
from PIL import Image, ImageDraw

from headstart.data.decode import decode, describe_fault, silence_pillow
from headstart.data.summary import Problem
from headstart.runtime.hardware import usable_cores

if TYPE_CHECKING:
    from headstart.data.augment import Preprocess
    from headstart.data.dataset import Data

Item = TypeVar("Item")

CELL, LARGEST, GAP = 128, 224, 4  # sides of an image in a sheet, and of an augmented one, in pixels
COLUMNS, ROWS = 6, 4
MOST = 4_800  # images that are decoded for all sheets together, with at least one row of each class
SAMPLES, AUGMENTED = 8, 8  # augmented samples of an image, and images
PAPER, FAULT = (255, 255, 255), (200, 0, 0)
UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]|^[. ]|[. ]$')  # in a file's name, on any system
LONGEST = 150  # characters of a name; of up to four bytes each, at most three of which are its ASCII form
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # Windows keeps these names for devices


def name_files(classes: Sequence[str]) -> list[str]:
    """A file's name for each class, without ending: what a file system refuses stands as %XX, and no two are alike."""
    names: list[str] = []
    taken: set[str] = set()
    for name in classes:
        safe = UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)
        safe = safe.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore") or "%"
        safe = f"%{safe}" if RESERVED.fullmatch(safe) else safe
        unique, number = safe, 2
        while _fold(unique) in taken:  # some file systems take Cat and cat for one name
            unique, number = f"{safe}~{number}", number + 1
        taken.add(_fold(unique))
        names.append(unique)
    return names


def _fold(name: str) -> str:
    return normalize("NFC", name).casefold()


def write_sheets(data: Data, folder: Path) -> list[Problem]:
    """Write `<class>.png` of each class: images drawn evenly over its images in all parts, whole, in 128 px.

    Returns:
        The images that could not be decoded; they are crossed out in the sheet.
    """
    folder.mkdir()
    problems: list[Problem] = []
    each = max(COLUMNS, min(COLUMNS * ROWS, MOST // len(data.classes)))
    with silence_pillow(), ThreadPoolExecutor(min(8, usable_cores())) as pool:
        for label, name in enumerate(name_files(data.classes)):
            chosen = _spread(list(_list_places(data, label)), each)
            cells = list(pool.map(lambda place: make_thumbnail(data, *place), chosen))
            if cells:
                columns = min(COLUMNS, len(cells))
                _arrange([cell for cell, _ in cells], columns).save(folder / f"{name}.png", compress_level=1)
            problems += [
                Problem(f"damaged in {part}", data.parts[part].names[row], fault)
                for (part, row), (_, fault) in zip(chosen, cells, strict=True)
                if fault
            ]
    return problems


def write_augmented(data: Data, preprocess: Preprocess, path: Path, seed: int) -> None:
    """Write a row for each of some training images: as evaluation sees it, then augmented samples of it."""
    part = data.parts["train"]
    rows = np.array(_spread(np.argsort(part.labels, kind="stable").tolist(), AUGMENTED))
    images, bad = data.make_reader(part.at(rows)).read_with_faults()
    images = images[[at for at in range(len(rows)) if at not in bad]]
    if not len(images):
        return
    samples = SAMPLES if preprocess.random else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        views = [preprocess(images), *(preprocess(images, train=True) for _ in range(samples))]
    pixels = [_to_pixels(view, preprocess) for view in views]
    side = min(max(CELL, data.image_size), LARGEST)
    cells = [fit_into(Image.fromarray(view[at]), side) for at in range(len(images)) for view in pixels]
    _arrange(cells, 1 + samples, side, apart=4 * GAP if samples else 0).save(path, compress_level=1)


def _to_pixels(view: torch.Tensor, preprocess: Preprocess) -> np.ndarray:
    """Turn normalised images [b, 3, H, W] back into uint8 [b, H, W, 3]."""
    values = (view * preprocess.std + preprocess.mean).mul(255).round().clamp(0, 255)
    return np.ascontiguousarray(values.to(torch.uint8).permute(0, 2, 3, 1).numpy())


def _list_places(data: Data, label: int) -> Iterator[tuple[str, int]]:
    """The part and the row of each image of a class."""
    for name, part in data.parts.items():
        for row in np.flatnonzero(part.labels == label).tolist():
            yield name, row


def _spread(items: Sequence[Item], n: int) -> list[Item]:
    """Up to n of the items, at even distances, the first among them."""
    if len(items) <= n:
        return list(items)
    return [items[at * len(items) // n] for at in range(n)]


def make_thumbnail(data: Data, name: str, row: int) -> tuple[Image.Image, str]:
    """An image as a person sees it, fitted into a cell; or a cross, and why it could not be decoded."""
    part = data.parts[name]
    try:
        image = part.split.images[int(part.rows[row])]
        return fit_into(Image.fromarray(image if isinstance(image, np.ndarray) else decode(image, CELL))), ""
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds of errors
        return draw_cross(), describe_fault(error)


def fit_into(image: Image.Image, cell: int = CELL) -> Image.Image:
    """Resize an image to the largest size that a cell holds; a small one is magnified without smoothing."""
    scale = cell / max(image.size)
    width, height = (max(1, round(px * scale)) for px in image.size)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    return image.convert("RGB").resize((width, height), method, reducing_gap=2.0 if scale < 1 else None)


def draw_cross() -> Image.Image:
    """A crossed-out cell: the place of an image that could not be decoded."""
    cell = Image.new("RGB", (CELL, CELL), PAPER)
    draw = ImageDraw.Draw(cell)
    for ends in ((0, 0, CELL, CELL), (0, CELL, CELL, 0)):
        draw.line(ends, fill=FAULT, width=3)
    draw.rectangle((0, 0, CELL - 1, CELL - 1), outline=FAULT)
    return cell


def _arrange(cells: Sequence[Image.Image], columns: int, side: int = CELL, apart: int = 0) -> Image.Image:
    """Put images into a grid, row by row, each in the middle of its cell.

    Args:
        apart: pixels between the first column and the others.
    """
    step, rows = side + GAP, -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * step + GAP + apart, rows * step + GAP), PAPER)
    for at, cell in enumerate(cells):
        left, top = GAP + at % columns * step + apart * (at % columns > 0), GAP + at // columns * step
        sheet.paste(cell, (left + (side - cell.width) // 2, top + (side - cell.height) // 2))
    return sheet
