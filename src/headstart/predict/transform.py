"""From images of any kind to the network's input, exactly as a run's evaluation does it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from PIL import Image, ImageFile

from headstart.data.augment import Preprocess
from headstart.data.decode import DRAFT
from headstart.data.deep import use_range
from headstart.data.filenames import escape_name
from headstart.data.reader import ImageReader
from headstart.data.source import Split
from headstart.data.splits import Part
from headstart.data.square import Square

if TYPE_CHECKING:
    from headstart.models.input import Input

AnyImage = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True)
class GivenImages:
    """Images as they were handed over: paths, PIL images, uint8 arrays [h, w, 3] or [h, w]; decoded when indexed.

    Attributes:
        pixel_range: the values of 16-bit and floating-point images that become 0 and 255.
    """

    images: Sequence[AnyImage]
    pixel_range: tuple[float, float] | None = None
    encoded: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> Image.Image | np.ndarray:
        image = self.images[index]
        if isinstance(image, str | Path):
            return use_range(Image.open(image), self.pixel_range)
        if isinstance(image, Image.Image):
            return use_range(_copy(image), self.pixel_range)
        if not isinstance(image, np.ndarray):
            raise ValueError(f"it is of type {type(image).__name__}; give a path, a PIL image or a uint8 array")
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"it is an array of {image.dtype} {list(image.shape)}; give uint8 [h, w, 3] or [h, w]")
        return image

    def raw(self, index: int, /) -> bytes:
        """The bytes of a file, or of an array's pixels."""
        image = self.images[index]
        return Path(image).read_bytes() if isinstance(image, str | Path) else np.asarray(image).tobytes()


def _copy(image: Image.Image) -> Image.Image:
    """A copy, because decoding may shrink or close an image; of one not yet loaded, its file is opened once more."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) else None
    if file is None or not image.tile:  # type: ignore[attr-defined] # it has tiles until it is loaded
        return image.copy()
    at = file.tell()
    file.seek(0)
    content = io.BytesIO(file.read())
    file.seek(at)
    return Image.open(content)


@dataclass(frozen=True)
class Transform:
    """Turns a PIL image into a normalised float tensor [3, s, s]; `decode` and `normalize` are its two halves.

    Attributes:
        input: the input that the network expects.
        pixel_range: as in `GivenImages`; None: images with more than 8 bits a pixel are refused.
    """

    input: Input
    pixel_range: tuple[float, float] | None = None
    _preprocess: dict[str, Preprocess] = field(default_factory=dict, repr=False, compare=False)  # by device

    @property
    def square(self) -> Square:
        """How an image of any shape becomes a square."""
        return Square.make(self.input.image_size, self.input.crop_pct, self.input.resize, self.input.mean)

    @property
    def enough(self) -> int:
        """Pixels that the shorter side of a JPEG file keeps at least when it is decoded at a fraction of its size."""
        return DRAFT * self.square.size

    def make_reader(self, images: Sequence[AnyImage], workers: int = 0) -> ImageReader:
        """Make the reader that decodes these images, uint8 [n, 3, S, S] before the centre crop to [n, 3, s, s]."""
        names = [
            escape_name(str(each)) if isinstance(each, str | Path) else f"image {at}" for at, each in enumerate(images)
        ]
        split = Split(GivenImages(images, self.pixel_range), np.zeros(len(images), np.int64), names)
        square = self.square
        part = Part(split, np.arange(len(images)))
        return ImageReader(
            part, square.size, self.input.interpolation, workers, square.crop, square.resize, square.fill
        )

    def decode(self, images: Sequence[AnyImage]) -> torch.Tensor:
        """Decode images to what the network sees, uint8 [n, 3, s, s]; a UserError names those that cannot be read."""
        stored = self.make_reader(images)(torch.arange(len(images)))
        return self._get_preprocess(stored.device).crop_centre(stored)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn uint8 [n, 3, S, S] into the network's input, float32 [n, 3, s, s], on the same device."""
        return self._get_preprocess(pixels.device)(pixels)

    def __call__(self, image: AnyImage) -> torch.Tensor:
        return self.normalize(self.decode([image]))[0]

    def _get_preprocess(self, device: torch.device) -> Preprocess:
        key = str(device)
        if key not in self._preprocess:
            self._preprocess[key] = Preprocess(self.input.image_size, self.input.mean, self.input.std).eval().to(device)
        return self._preprocess[key]
