"""The confusion matrix: its counts, and its picture, drawn with Pillow because importing matplotlib takes 0.7 s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

NAMED = 40  # with more classes than this, names are left out and the matrix is only a map of colours


def count_pairs(rows: Sequence[int] | np.ndarray, columns: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Count how often each pair of a row and a column occurs, int64 [size, size].

    With true classes as rows and predicted classes as columns, this is the confusion matrix.
    """
    import numpy as np

    places = np.asarray(rows, dtype=np.int64) * size + np.asarray(columns, dtype=np.int64)
    return np.bincount(places, minlength=size * size).reshape(size, size)


def draw_confusion(labels: Sequence[int], predicted: Sequence[int], classes: Sequence[str]) -> Image:
    """Draw the matrix with true classes as rows and predicted classes as columns.

    The shade of a cell is its share of its row, the number is the count of images; a white cell has none.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    from headstart.tracking.fonts import load_font, name_what_cannot_be_drawn

    count = len(classes)
    counts = count_pairs(labels, predicted, count)
    share = counts / counts.sum(1, keepdims=True).clip(1)
    cell = max(640 // count, 26) if count <= NAMED else max(1, 1000 // count)
    font = load_font(classes if count <= NAMED else (), 11)
    drawable = name_what_cannot_be_drawn(classes, font) if count <= NAMED else []
    names = [name if len(name) <= 18 else f"{name[:17]}…" for name in drawable]
    corner, small = "true ↓\npredicted →", load_font((), 9)
    widths = [font.getlength(name) for name in names]
    margin = int(max([small.getlength(corner.splitlines()[1]), *widths])) + 16
    shades = np.outer(share.ravel(), np.array([8, 48, 107]) - 255.0) + 255
    grid = Image.fromarray(shades.astype(np.uint8).reshape(count, count, 3)).resize((cell * count,) * 2, 0)
    picture = Image.new("RGB", (grid.width + margin + 10, grid.height + margin + 10), "white")
    picture.paste(grid, (margin, margin))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((margin, margin, margin + grid.width, margin + grid.height), outline="#888888")
    for i, name in enumerate(names):
        middle = margin + cell * i + cell // 2
        draw.text((margin - 6, middle), name, fill="black", font=font, anchor="rm")
        upright = Image.new("RGB", (margin - 6, 16), "white")
        ImageDraw.Draw(upright).text((0, 8), name, fill="black", font=font, anchor="lm")
        picture.paste(upright.rotate(90, expand=True), (middle - 8, 0))
        for j in np.flatnonzero(counts[i]).tolist():
            ink = "white" if share[i, j] > 0.5 else "black"
            centre = margin + cell * j + cell // 2, middle
            draw.text(centre, str(counts[i, j]), fill=ink, font=font, anchor="mm")
    draw.text((4, 2), corner, fill="#555555", font=small)
    return picture
