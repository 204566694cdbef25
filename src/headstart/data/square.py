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

import math
from collections.abc import Sequence
from dataclasses import dataclass


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

    @classmethod
    def make(cls, image_size: int, crop_pct: float, resize: str, mean: Sequence[float]) -> Square:
        """The square of timm's evaluation resize: larger than the network's input by 1 / `crop_pct`.

        Args:
            mean: the colour, in 0 … 1, that fills a square around an image that was padded.
        """
        fill = (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2]))
        return cls(math.floor(image_size / crop_pct), image_size, resize, fill)

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
