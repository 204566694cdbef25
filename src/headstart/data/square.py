"""The geometry by which an image of any shape becomes the stored square: cropped, squashed or padded, as timm does it.

==========  ==========================  ========================================================================
resize      timm's `crop_mode`          what happens
==========  ==========================  ========================================================================
`crop`      center                      the shorter side is resized to the square's; what stands over is cut off
`squash`    squash                      both sides are resized to the square's; shapes are distorted
`pad`       border                      the longer side is resized to the square's; the rest is filled with the mean
==========  ==========================  ========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.data.splits import Part

MEASURED = 1000  # images of a part whose shape is read, at most: 0.1 s
WIDE_CUT = 1 / 3  # a cut of more than this share of an image's longer side is said; of a square's, 1/8 is usual


@dataclass(frozen=True)
class Square:
    """The square that is stored of each image, and the centre crop of it that the network sees.

    Attributes:
        size: side of the stored square in pixels.
        crop: side of the centre crop that follows; both cuts together have the offsets of timm's single crop.
        resize: one of the above.
        fill: colour of what `pad` adds: the mean by which pixels are normalised.
    """

    size: int
    crop: int
    resize: str = "crop"
    fill: tuple[int, int, int] = (0, 0, 0)

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Height and width to which an image is resized."""
        if self.resize == "squash":
            return self.size, self.size
        if self.resize == "pad":
            ratio = max(height / self.size, width / self.size)
            return max(1, round(height / ratio)), max(1, round(width / ratio))  # timm.data.transforms.ResizeKeepRatio
        long = int(self.size * max(height, width) / min(height, width))  # rounded down, as torchvision's Resize does
        return (self.size, long) if height <= width else (long, self.size)

    def place(self, side: int) -> int:
        """Where the square begins on a side of the resized image; negative if the image begins inside the square."""
        # torchvision's CenterCrop rounds halves to even; timm's CenterCropOrPad pads less before than after
        start = round((side - self.crop) / 2) if side >= self.crop else -((self.crop - side) // 2)
        return start - round((self.size - self.crop) / 2)

    def count_cut(self, height: int, width: int) -> float:
        """The share of the image's longer side that lies outside the centre crop, from 0 to 1."""
        return max(0.0, 1 - self.crop / max(self.fit(height, width)))


def describe_cuts(parts: Mapping[str, Part], square: Square) -> list[str]:
    """A sentence that counts the images of which the crop cuts off much; none if there are none."""
    if square.resize != "crop":
        return []
    shapes = [shape for part in parts.values() for shape in _list_shapes(part)]
    cut = sum(square.count_cut(*shape) > WIDE_CUT for shape in shapes)
    if not cut:
        return []
    total = sum(map(len, parts.values()))
    of = f"{total:,}" if len(shapes) == total else f"{len(shapes):,} looked at of {total:,}"
    return [
        f"data.resize=crop: {cut:,} images ({of}) lose more than a third of their longer side at its ends; "
        "data.resize=squash or pad keeps all of it"
    ]


def _list_shapes(part: Part) -> Iterator[tuple[int, int]]:
    """Height and width of a part's images, evenly spaced ones if there are many; of a file only the head is read."""
    from PIL import Image

    from headstart.data.image import silence_pillow

    with silence_pillow():
        for row in part.rows[:: max(1, -(-len(part) // MEASURED))]:
            image = part.split.images[int(row)]
            if isinstance(image, Image.Image):
                yield image.height, image.width
            else:
                yield image.shape[0], image.shape[1]
