"""A measure of the accuracy on corrupted images: shifted, scaled, rotated, with thicker strokes, noise or blur.

The kinds of corruption are some of Hendrycks & Dietterich's (2019, "Benchmarking neural network robustness to common
corruptions and perturbations"); the sizes are a study's own, not the five severities of their ImageNet-C.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from headstart.data.loader import Pixels
from headstart.distributed import comm
from headstart.errors import UserError
from headstart.measures.measure import Measure, write_rows

# The least and the greatest size of each change, in its unit; see `headstart.measures.Changes`.
LIMITS: dict[str, tuple[float, float]] = {
    "shift": (0, 1),
    "scale": (0.05, 20),
    "rotation": (0, 180),
    "stroke": (-99, 99),
    "noise": (0, 1),
    "blur": (0, 0.25),
    "contrast": (0, 10),
    "brightness": (-1, 1),
}
WHOLE = ("stroke",)
PART = 256  # images that are changed together


def check_sizes(change: str, sizes: Sequence[float]) -> None:
    """Raise UserError if a size of a change is out of its limits."""
    low, high = LIMITS[change]
    kind = int if change in WHOLE else int | float
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, kind) or not low <= size <= high:
            words = "whole numbers" if change in WHOLE else "numbers"
            raise UserError(f"{change}={list(sizes)}: must be {words} from {low} to {high}")


def corrupt(images: Tensor, change: str, size: float, seed: int = 0) -> Iterable[Tensor]:
    """Change images uint8 [n, 3, S, S]; yields one tensor, but for a shift its four directions, for a rotation both.

    Noise depends only on the seed, the size and the position of an image.
    """
    if change == "shift":
        for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1)) if size else ((0, 0),):
            yield _apply_by_part(images, partial(_move, factor=1.0, right=2 * size * right, down=2 * size * down))
    elif change == "rotation":
        for degrees in (size, -size) if size else (0.0,):
            yield _apply_by_part(images, partial(_rotate, degrees=degrees))
    else:
        yield _apply_by_part(images, _make_operation(change, size, seed))


def _make_operation(change: str, size: float, seed: int) -> Callable[[Tensor], Tensor]:
    """Make the function that changes float images [b, 3, S, S] of 0 … 255."""
    from kornia import enhance

    if change == "noise":
        generator = torch.Generator().manual_seed(seed)
        return lambda part: part + 255 * size * _draw_noise(part, generator)
    return {
        "scale": lambda part: _move(part, size, 0.0, 0.0),
        "stroke": lambda part: _dilate(part, int(size)),
        "blur": lambda part: _blur(part, size * part.shape[-1]),
        "contrast": lambda part: 255 * enhance.adjust_contrast_with_mean_subtraction(part / 255, float(size)),
        "brightness": lambda part: 255 * enhance.adjust_brightness(part / 255, float(size)),
    }[change]


def _apply_by_part(images: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `operation` to all images, a part at a time, and round the result to uint8."""

    def parts() -> Iterator[Tensor]:
        for part in images.split(PART):
            yield operation(part.float()).round().clamp(0, 255).to(torch.uint8)

    return torch.cat(list(parts()))


def _move(part: Tensor, factor: float, right: float, down: float) -> Tensor:
    """Scale images about the centre, then shift them; in units of half a side."""
    grid_of = torch.tensor([[1 / factor, 0.0, -right / factor], [0.0, 1 / factor, -down / factor]])
    grid = functional.affine_grid(grid_of.expand(len(part), 2, 3), list(part.shape), align_corners=False)
    return functional.grid_sample(part, grid, padding_mode="border", align_corners=False)


def _rotate(part: Tensor, degrees: float) -> Tensor:
    """Rotate images about the centre, anticlockwise."""
    from kornia.geometry.transform import rotate

    return rotate(part, torch.full((len(part),), float(degrees)), padding_mode="border")


def _dilate(part: Tensor, pixels: int) -> Tensor:
    """Grey-scale dilation with a square of side 2 `pixels` + 1; below 0: erosion."""
    sign = 1.0 if pixels >= 0 else -1.0
    side = 2 * abs(pixels) + 1
    return sign * functional.max_pool2d(sign * part, side, stride=1, padding=side // 2)


def _draw_noise(part: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of the images' shape; the three channels of a grey image get the same numbers."""
    drawn = torch.randn(part.shape, generator=generator)
    grey = (part == part[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    return torch.where(grey, drawn[:, :1], drawn)


def _blur(part: Tensor, sigma: float) -> Tensor:
    """Blur images by a Gaussian with a standard deviation in pixels; pixels of the border are repeated outside."""
    from kornia.filters import gaussian_blur2d

    if sigma == 0:
        return part
    side = 2 * min(math.ceil(3 * sigma), part.shape[-1] - 1) + 1
    return gaussian_blur2d(part, (side, side), (sigma, sigma), border_type="replicate")


class Changes(Measure):
    """Records the accuracy on changed test images, after training on images without changes, in `changes.csv`.

    Columns: change, size, accuracy (from 0 to 1). Pixels that leave the image are lost, and pixels of its border are
    repeated outside. Images are changed at the size at which they are stored, before the centre crop. The kinds are
    some of Hendrycks & Dietterich's (2019); the sizes are given by the study, and are not the severities of ImageNet-C.

    Args:
        shift: distances, as shares of the side; the accuracy is the mean over left, right, up and down.
        scale: factors about the centre.
        rotation: degrees; the accuracy is the mean over both directions.
        stroke: by how many pixels a bright stroke on a dark background becomes thicker on each side (below 0: thinner).
        noise: standard deviations of Gaussian noise, as shares of the range of values; grey images get grey noise.
        blur: standard deviations of a Gaussian, as shares of the side.
        contrast: factors about an image's mean value.
        brightness: values to add, as shares of the range of values.
        seed: of the noise, which is the same in all runs.
    """

    FILE = "changes.csv"

    def __init__(
        self,
        shift: Sequence[float] = (),
        scale: Sequence[float] = (),
        rotation: Sequence[float] = (),
        stroke: Sequence[int] = (),
        noise: Sequence[float] = (),
        blur: Sequence[float] = (),
        contrast: Sequence[float] = (),
        brightness: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        self.sizes: dict[str, Sequence[float]] = {
            "shift": shift,
            "scale": scale,
            "rotation": rotation,
            "stroke": stroke,
            "noise": noise,
            "blur": blur,
            "contrast": contrast,
            "brightness": brightness,
        }
        for change, sizes in self.sizes.items():
            check_sizes(change, sizes)
        self.seed = seed

    def on_test_end(self, test: Pixels, logits: Callable[[Pixels], Tensor], folder: Path) -> None:
        rows = []
        for change, sizes in self.sizes.items():
            for size in sizes:
                shares = []
                for images in corrupt(test.images, change, size, self.seed):
                    found = logits(Pixels(images, test.labels, test.ids, test.names)).argmax(1)
                    shares.append(float((found.cpu() == test.labels).double().mean()))
                rows.append({"change": change, "size": size, "accuracy": sum(shares) / len(shares)})
        if comm.is_first():
            write_rows(folder / self.FILE, rows)
