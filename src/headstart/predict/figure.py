"""A contact sheet of predictions: each image with its labels as bars beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from headstart.data.contact_sheet import CELL, draw_cross, fit_into
from headstart.data.decode import decode, silence_pillow
from headstart.data.filenames import escape_name
from headstart.predict.prediction import Prediction
from headstart.predict.transform import GivenImages
from headstart.storage.files import write_whole
from headstart.tracking.fonts import load_font, shorten

MOST = 120  # images in a sheet
BARS = 5  # labels of an image
SIDE, STEP, LINE = 240, 24, 16  # width beside an image; height of a bar with its label; height of a file's name
GAP = 8
PAPER, INK, BAR, FIRST = "white", "#1f2328", "#c9d7e4", "#5b9bd5"


def draw_sheet(predictions: Sequence[Prediction], pixel_range: tuple[float, float] | None = None) -> Image.Image:
    """Draw the first images, whose paths the predictions name, and their labels.

    Args:
        pixel_range: the values of black and white in images with more than 8 bits a pixel.
    """
    shown = predictions[:MOST]
    columns = max(1, min(3, math.ceil(math.sqrt(len(shown)))))
    width, height = CELL + SIDE + 3 * GAP, CELL + LINE + 2 * GAP
    sheet = Image.new("RGB", (columns * width, -(-len(shown) // columns) * height), PAPER)
    texts = {text for each in shown for text in (escape_name(str(each.image)), *map(escape_name, each.labels))}
    font = load_font([*texts, "…?"], 12)
    with silence_pillow():
        for at, prediction in enumerate(shown):
            cell = _draw_cell(prediction, pixel_range, font, (width, height))
            sheet.paste(cell, (at % columns * width, at // columns * height))
    return sheet


def write_figure(sheet: Image.Image, path: Path) -> None:
    """Write a picture as PNG, completely or not at all."""
    with write_whole(path) as part:
        sheet.save(part, format="PNG")


def _draw_cell(
    prediction: Prediction, pixel_range: tuple[float, float] | None, font: ImageFont.FreeTypeFont, size: tuple[int, int]
) -> Image.Image:
    cell = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(cell)
    picture = _thumbnail(prediction, pixel_range)
    cell.paste(picture, (GAP + (CELL - picture.width) // 2, GAP + (CELL - picture.height) // 2))
    name = shorten(escape_name(str(prediction.image)), font, size[0] - 2 * GAP, start=True)
    draw.text((GAP, GAP + CELL + 2), name, fill=INK, font=font)
    left = CELL + 2 * GAP
    if prediction.error is not None:
        draw.text((left, GAP), shorten(prediction.error, font, SIDE), fill=INK, font=font)
    pairs = list(zip(prediction.labels, prediction.probabilities, strict=True))[:BARS]
    for at, (label, share) in enumerate(pairs):
        top = GAP + at * STEP
        if not math.isnan(share):
            box = (left, top, left + max(1, round(share * SIDE)), top + STEP - 4)
            draw.rectangle(box, fill=BAR if at else FIRST)
        text = escape_name(label) if math.isnan(share) else f"{100 * share:.1f} %  {escape_name(label)}"
        draw.text((left + 4, top + 2), shorten(text, font, SIDE - 4), fill=INK, font=font)
    return cell


def _thumbnail(prediction: Prediction, pixel_range: tuple[float, float] | None) -> Image.Image:
    """The image as a person sees it, fitted into a cell; a cross if it could not be read."""
    if prediction.error is not None:
        return draw_cross()
    image = GivenImages([str(prediction.image)], pixel_range)[0]
    assert isinstance(image, Image.Image)
    return fit_into(Image.fromarray(decode(image, CELL)))
