"""Sheets of pictures with words: a title, rows with names, cells with captions, in a size for a slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from headstart.tracking.fonts import load_font, shorten

PAPER, INK, FAINT = (255, 255, 255), (25, 25, 25), (110, 110, 110)
GAP, EDGE, APART = 14, 24, 4  # pixels between cells, around the sheet, and between the images of a cell
TITLE, NAME, CAPTION = 22, 16, 13  # sizes of letters, in pixels


@dataclass(frozen=True)
class Cell:
    """Pictures that belong together: a large one, and small ones beside it in columns.

    Attributes:
        large: the picture.
        caption: stands below it, a line each.
        small: further images.
    """

    large: Image.Image
    caption: tuple[str, ...] = ()
    small: tuple[Image.Image, ...] = ()


def enlarge(image: Image.Image, side: int) -> Image.Image:
    """Resize an image so that its longer side is `side`; a tiny one shows its pixels."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BICUBIC
    return image.resize(size, method)


def draw_sheet(
    title: str, note: str, rows: Sequence[tuple[str, Sequence[Cell]]], *, side: int = 168, small_rows: int = 2
) -> Image.Image:
    """Draw a sheet.

    Args:
        note: a line of words below the title.
        rows: the name of each row, and its cells.
        side: of a cell's large picture, in pixels.
        small_rows: how many of a cell's small images stand above one another beside the large one.
    """
    little = (side - (small_rows - 1) * APART) // small_rows
    most_small = max(len(cell.small) for _, cells in rows for cell in cells)
    columns = -(-most_small // small_rows)
    width = side + columns * (little + APART)
    lines = max(len(cell.caption) for _, cells in rows for cell in cells)
    height = side + lines * (CAPTION + 5) + 4
    texts = [
        title,
        note,
        *(name for name, _ in rows),
        *(line for _, cells in rows for c in cells for line in c.caption),
    ]
    fonts = {size: load_font(texts, size) for size in (TITLE, NAME, CAPTION)}
    top = EDGE + TITLE + CAPTION + 26
    count = max(len(cells) for _, cells in rows)
    heads = [NAME + 10 if name else 0 for name, _ in rows]
    words = max(fonts[TITLE].getlength(title), fonts[CAPTION].getlength(note))
    across = max(count * (width + GAP) - GAP, round(words)) + 2 * EDGE
    sheet = Image.new("RGB", (across, top + sum(heads) + len(rows) * (height + GAP) + EDGE - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((EDGE, EDGE), title, INK, fonts[TITLE])
    draw.text((EDGE, EDGE + TITLE + 10), note, FAINT, fonts[CAPTION])
    y = top
    for (name, cells), head in zip(rows, heads, strict=True):
        draw.text((EDGE, y), name, INK, fonts[NAME])
        y += head
        for number, cell in enumerate(cells):
            x = EDGE + number * (width + GAP)
            _draw_cell(sheet, cell, (x, y), side, little, small_rows)
            for line, text in enumerate(cell.caption):
                place = (x, y + side + 4 + line * (CAPTION + 5))
                draw.text(place, shorten(text, fonts[CAPTION], width), FAINT if line else INK, fonts[CAPTION])
        y += height + GAP
    return sheet


def _draw_cell(sheet: Image.Image, cell: Cell, place: tuple[int, int], side: int, little: int, rows: int) -> None:
    x, y = place
    sheet.paste(enlarge(cell.large, side), place)
    for at, image in enumerate(cell.small):
        column, row = divmod(at, rows)
        sheet.paste(enlarge(image, little), (x + side + APART + column * (little + APART), y + row * (little + APART)))
