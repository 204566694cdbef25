"""Images changed as a study asks: moved, scaled, turned, drawn thicker, made noisy, blurred, pale or bright.

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
PART = 256  # images that are changed at once


def check_sizes(change: str, sizes: Sequence[float]) -> None:
    """Raises UserError where a size of a change is out of its limits."""
    low, high = LIMITS[change]
    kind = int if change in WHOLE else int | float
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, kind) or not low <= size <= high:
            words = "whole numbers" if change in WHOLE else "numbers"
            raise UserError(f"{change}={list(sizes)}: must be {words} from {low} to {high}")


def corrupt(images: Tensor, change: str, size: float, seed: int = 0) -> Iterable[Tensor]:
    """Images uint8 [n, 3, S, S] under a change; a shift comes in its four directions, a rotation in both.

    Noise is a function of the seed, the size and an image's place alone.
    """
    if change == "shift":
        for right, down in ((1, 0), (-1, 0), (0, 1), (0, -1)) if size else ((0, 0),):
            yield _by_part(images, partial(_moved, factor=1.0, right=2 * size * right, down=2 * size * down))
    elif change == "rotation":
        for degrees in (size, -size) if size else (0.0,):
            yield _by_part(images, partial(_turned, degrees=degrees))
    else:
        yield _by_part(images, _operation(change, size, seed))


def _operation(change: str, size: float, seed: int) -> Callable[[Tensor], Tensor]:
    """What a change does to float images [b, 3, S, S] of 0 … 255."""
    from kornia import enhance

    if change == "noise":
        generator = torch.Generator().manual_seed(seed)
        return lambda part: part + 255 * size * _noise(part, generator)
    return {
        "scale": lambda part: _moved(part, size, 0.0, 0.0),
        "stroke": lambda part: _stroked(part, int(size)),
        "blur": lambda part: _blurred(part, size * part.shape[-1]),
        "contrast": lambda part: 255 * enhance.adjust_contrast_with_mean_subtraction(part / 255, float(size)),
        "brightness": lambda part: 255 * enhance.adjust_brightness(part / 255, float(size)),
    }[change]


def _by_part(images: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """`operation` over all images, a part at a time, rounded to uint8 again."""

    def parts() -> Iterator[Tensor]:
        for part in images.split(PART):
            yield operation(part.float()).round().clamp(0, 255).to(torch.uint8)

    return torch.cat(list(parts()))


def _moved(part: Tensor, factor: float, right: float, down: float) -> Tensor:
    """Scaled about the centre, then moved; in units of half a side."""
    grid_of = torch.tensor([[1 / factor, 0.0, -right / factor], [0.0, 1 / factor, -down / factor]])
    grid = functional.affine_grid(grid_of.expand(len(part), 2, 3), list(part.shape), align_corners=False)
    return functional.grid_sample(part, grid, padding_mode="border", align_corners=False)


def _turned(part: Tensor, degrees: float) -> Tensor:
    """Turned about the centre, anticlockwise."""
    from kornia.geometry.transform import rotate

    return rotate(part, torch.full((len(part),), float(degrees)), padding_mode="border")


def _stroked(part: Tensor, pixels: int) -> Tensor:
    """Grey-scale dilation with a square of side 2 `pixels` + 1; below 0: erosion."""
    sign = 1.0 if pixels >= 0 else -1.0
    side = 2 * abs(pixels) + 1
    return sign * functional.max_pool2d(sign * part, side, stride=1, padding=side // 2)


def _noise(part: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the images' shape; the three channels of a grey image have the same."""
    drawn = torch.randn(part.shape, generator=generator)
    grey = (part == part[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    return torch.where(grey, drawn[:, :1], drawn)


def _blurred(part: Tensor, sigma: float) -> Tensor:
    """Blurred by a Gaussian with a standard deviation in pixels; the border is continued."""
    from kornia.filters import gaussian_blur2d

    if sigma == 0:
        return part
    side = 2 * min(math.ceil(3 * sigma), part.shape[-1] - 1) + 1
    return gaussian_blur2d(part, (side, side), (sigma, sigma), border_type="replicate")


class Changes(Measure):
    """Test accuracy of images that were changed after training on clean ones: `changes.csv`.

    Columns: change, size, accuracy (a share of 1). What leaves the image is lost, and its border is continued. Images
    are changed at the size at which they are kept, before the centre crop. The kinds are some of Hendrycks &
    Dietterich's (2019); their sizes are given here, and are not the severities of ImageNet-C.

    Args:
        shift: how far, as shares of the side; the accuracy is the mean over left, right, up and down.
        scale: factors about the centre.
        rotation: degrees; the accuracy is the mean over both directions.
        stroke: by how many pixels a bright stroke on dark ground grows on each side (below 0: shrinks).
        noise: standard deviations of Gaussian noise, as shares of the range of values; grey images get grey noise.
        blur: standard deviations of a Gaussian, as shares of the side.
        contrast: factors about an image's mean value.
        brightness: what is added, as shares of the range of values.
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
