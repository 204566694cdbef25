"""Canvases draw pictures in the colours and with the frequencies of their palette."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from headstart.visualize.features.canvas import (
    FourierCanvas,
    Palette,
    PhaseCanvas,
    make_palette,
    measure_palette,
    view,
)

CPU = torch.device("cpu")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def photographs(side: int = 32) -> Tensor:
    """Pieces of scikit-learn's two photographs."""
    pictures = [torch.tensor(each).permute(2, 0, 1) for each in load_sample_images().images]
    pieces = [each.unfold(1, side, side).unfold(2, side, side).flatten(1, 2).transpose(0, 1) for each in pictures]
    return torch.cat(pieces)


@pytest.mark.parametrize("side", [31, 32])
def test_pictures_have_their_size_and_start_grey(side: int) -> None:
    drawn = FourierCanvas(2, side, make_palette(), generator(), CPU).draw().detach()
    assert drawn.shape == (2, 3, side, side)
    assert float((drawn - 0.5).abs().max()) < 0.1


def test_low_frequencies_move_more_as_in_photographs() -> None:
    canvas = FourierCanvas(200, 32, make_palette(), generator(), CPU)
    power = torch.fft.rfft2(canvas.draw().detach().logit()).abs().mean((0, 1))[0]
    assert float(power[1] / power[8]) == pytest.approx(8, rel=0.15)


def test_grey_images_give_grey_pictures() -> None:
    palette = measure_palette(photographs().float().mean(1, keepdim=True).round().byte().expand(-1, 3, -1, -1))
    for kind in (FourierCanvas, PhaseCanvas):
        drawn = kind(1, 32, palette, generator(), CPU).draw().detach()
        assert float(drawn.std(1).max()) < 1e-4
        assert float(drawn.std()) > 0


def test_a_measured_palette_has_the_colours_of_the_images() -> None:
    pixels = photographs()
    palette = measure_palette(pixels)
    covariance = torch.cov((pixels.float() / 255).permute(1, 0, 2, 3).flatten(1))
    found = palette.colours @ palette.colours.T
    torch.testing.assert_close(found / found.trace(), covariance / covariance.trace(), rtol=1e-3, atol=1e-4)


def test_only_phases_learn_where_the_spectrum_is_that_of_images() -> None:
    palette = measure_palette(photographs())
    drawn = PhaseCanvas(64, 32, palette, generator(), CPU).draw()
    plain = torch.einsum("ij,njhw->nihw", torch.linalg.inv(palette.colours), drawn.double().logit().float())
    assert palette.mean is not None
    assert palette.spectrum is not None
    magnitude = torch.fft.rfft2(plain - palette.mean[:, None, None], norm="ortho").abs()
    # but for the column of frequencies that are their own mirror images: there the transform mixes two phases
    expected = palette.spectrum[:, :, 1:-1].expand_as(magnitude[..., 1:-1])
    torch.testing.assert_close(magnitude[..., 1:-1], expected, rtol=0.02, atol=0.02)


def test_views_differ_and_keep_the_size() -> None:
    picture = photographs()[:1].float() / 255
    views = view(picture.expand(8, -1, -1, -1), generator())
    assert views.shape == (8, 3, 32, 32)
    assert len({round(float(each.sum()), 3) for each in views}) == 8
    even = torch.full((1, 3, 16, 16), 0.25)
    torch.testing.assert_close(view(even, generator()), even)  # no frame comes into sight


def test_an_empty_palette_is_no_number() -> None:
    black = measure_palette(torch.zeros(4, 3, 16, 16, dtype=torch.uint8))
    assert isinstance(black, Palette)
    assert bool(FourierCanvas(1, 16, black, generator(), CPU).draw().isfinite().all())
