"""Pictures as learned coefficients of a Fourier transform in uncorrelated colours, and their robust views.

Gradient steps on pixels make noise that a network answers to and that nobody sees. Steps on Fourier coefficients that
are scaled as in natural images (energy falls with frequency), in colours without correlation, reach every frequency
and colour alike (Olah, Mordvintsev and Schubert 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# square root of the covariance of colours in ImageNet, from the library Lucid
IMAGENET_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))
DARKEST = 0.02  # pixels are kept this far from 0 and 1 before the inverse of the sigmoid


@dataclass(frozen=True)
class Palette:
    """The colours and the frequencies of a set of images.

    Attributes:
        colours: [3, 3], from three uncorrelated values to the logits of red, green and blue.
        spectrum: [3, s, s // 2 + 1], the mean magnitude of each frequency in uncorrelated colours; None: not measured.
        mean: [3], the mean of the uncorrelated values.
    """

    colours: Tensor
    spectrum: Tensor | None = None
    mean: Tensor | None = None


def make_palette() -> Palette:
    """The colours of ImageNet's photographs."""
    return Palette(_scale(torch.tensor(IMAGENET_COLOURS)))


def measure_palette(images: Tensor) -> Palette:
    """Measure the colours and the spectrum of images, uint8 [n, 3, s, s]; grey images give grey pictures."""
    pixels = images.float() / 255
    values = pixels.permute(1, 0, 2, 3).flatten(1)
    variances, axes = torch.linalg.eigh(torch.cov(values.double()))
    root = (axes * variances.clamp(min=0).sqrt()).flip(1).float()
    colours = _scale(torch.where(root.norm(dim=0) > 1e-3 * root.norm(), root, 0))
    logits = pixels.clamp(DARKEST, 1 - DARKEST).logit()
    plain = torch.einsum("ij,njhw->nihw", torch.linalg.pinv(colours), logits)
    mean = plain.mean((0, 2, 3))
    spectrum = torch.fft.rfft2(plain - mean[:, None, None], norm="ortho").abs().mean(0)
    return Palette(colours, spectrum, mean)


def _scale(colours: Tensor) -> Tensor:
    """Scale a matrix so that the longest of its columns has length 1."""
    return colours / colours.norm(dim=0).max().clamp(min=1e-6)


MEAN_SCALE = 4  # of the mean colour, so that some hundred steps reach black and white


class FourierCanvas:
    """Pictures [n, 3, side, side] whose Fourier coefficients learn."""

    rate = 0.05

    def __init__(self, n: int, side: int, palette: Palette, generator: torch.Generator, device: torch.device) -> None:
        self.side, self.colours = side, palette.colours.to(device)
        shape = (n, 3, side, side // 2 + 1, 2)
        self.learned = (0.01 * torch.randn(shape, generator=generator)).to(device).requires_grad_()
        frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
        if palette.spectrum is None or palette.mean is None:
            scale = side / frequency.clamp(min=1 / side) / 4  # 1 / f, as in photographs
            scale[0, 0] *= MEAN_SCALE
            self._scale, self._mean = scale.to(device), torch.zeros(3, 1, 1, device=device)
        else:  # a learned coefficient of 1 is as strong as in the images
            self._scale = (side * palette.spectrum).to(device)
            self._mean = palette.mean[:, None, None].to(device)

    def draw(self) -> Tensor:
        """The pictures, in 0 … 1."""
        spectrum = torch.view_as_complex(self.learned) * self._scale
        plain = torch.fft.irfft2(spectrum, s=(self.side, self.side)) + self._mean
        return torch.einsum("ij,njhw->nihw", self.colours, plain).sigmoid()


class PhaseCanvas:
    """Pictures of which only the phases learn; each frequency is as strong as in a set of images (MACO, Fel 2023)."""

    rate = 0.2

    def __init__(self, n: int, side: int, palette: Palette, generator: torch.Generator, device: torch.device) -> None:
        assert palette.spectrum is not None
        assert palette.mean is not None
        self.side, self.colours = side, palette.colours.to(device)
        self._mean = palette.mean[:, None, None].to(device)
        self._magnitude = palette.spectrum.to(device)
        phases = torch.rand((n, *palette.spectrum.shape), generator=generator) * 2 * math.pi
        self.learned = phases.to(device).requires_grad_()

    def draw(self) -> Tensor:
        """The pictures, in 0 … 1."""
        spectrum = torch.polar(self._magnitude.expand_as(self.learned), self.learned)
        plain = torch.fft.irfft2(spectrum, s=(self.side, self.side), norm="ortho") + self._mean
        return torch.einsum("ij,njhw->nihw", self.colours, plain).sigmoid()


TURN, ZOOM, SHIFT = math.radians(10), (0.9, 1.15), 0.09  # radians, factors, and a share of the side


def view(pictures: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Turn, zoom and shift each picture at random: what excites a unit only at one exact place is no feature.

    Outside it is reflected, because a frame would excite units too. The zoom includes that of the usual evaluation,
    which enlarges a picture by 1 / 0.875 and crops it.
    """
    n = len(pictures)
    draws = torch.rand(n, 4, generator=generator)
    angle = strength * TURN * (2 * draws[:, 0] - 1)
    zoom = 1 + strength * (ZOOM[0] + (ZOOM[1] - ZOOM[0]) * draws[:, 1] - 1)
    shift = strength * SHIFT * 2 * (2 * draws[:, 2:] - 1)  # the side has length 2
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    rows = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], 1).view(n, 2, 3)
    grid = functional.affine_grid(rows.to(pictures), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
