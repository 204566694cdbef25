"""Make pictures that excite units of a network most, by gradient steps on their Fourier coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headstart.errors import RunFailed, UserError
from headstart.visualize.features.canvas import FourierCanvas, Palette, PhaseCanvas, view
from headstart.visualize.features.objectives import Objective, measure_likeness
from headstart.visualize.features.redirect import redirect_gradients
from headstart.visualize.forward import compute_map, to_input, without_weight_gradients

if TYPE_CHECKING:
    from headstart.predict.network import Network

DIVERSITY = 2.0  # how much more unlike pictures weigh, in standard scores


@dataclass(frozen=True)
class Settings:
    """How pictures are made.

    Attributes:
        side: of the pictures, in pixels.
        steps: of the optimisation.
        copies: pictures of each unit, made unlike each other if there are several.
        palette: their colours.
        phases_only: keep the spectrum of the palette, and let only the phases learn.
        seed: of the first coefficients and of the views.
    """

    side: int
    steps: int
    palette: Palette
    copies: int = 1
    phases_only: bool = False
    seed: int = 0


def make_pictures(
    network: Network,
    layer: str | None,
    objective: Objective,
    units: int,
    settings: Settings,
    *,
    count: Callable[[], None] = lambda: None,
) -> Tensor:
    """Make `copies` pictures for each unit of an objective, all in one batch: uint8 [units * copies, 3, side, side].

    Args:
        layer: whose map the objective is of; None: the logits.
        units: how many scores the objective gives.
        count: called after each step.

    Raises:
        UserError: the units have no gradient in the image.
        RunFailed: they have none that is a number.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    kind = PhaseCanvas if settings.phases_only else FourierCanvas
    canvas = kind(units * settings.copies, settings.side, settings.palette, generator, network.device)
    optimiser = torch.optim.Adam([canvas.learned], lr=canvas.rate, eps=1e-12)
    own = torch.arange(units, device=network.device).repeat_interleave(settings.copies)[:, None]
    with without_weight_gradients(network):
        for step in range(settings.steps):
            # in the second half smaller and smaller steps, from views that are more and more alike: the picture settles
            late = max(0.0, 2 * step / settings.steps - 1)
            optimiser.param_groups[0]["lr"] = canvas.rate * (1 + math.cos(math.pi * late)) / 2
            inputs = to_input(network, view(canvas.draw(), generator, 1 - 0.75 * late))
            with redirect_gradients():
                maps = compute_map(network, inputs, layer)
                loss = -objective(maps).gather(1, own).sum()
                if settings.copies > 1:
                    loss = loss + _weigh(maps, objective, settings.copies)
                if not loss.requires_grad:
                    raise UserError(f"{network.name}: {layer or 'its answer'} has no gradient in the image")
                (canvas.learned.grad,) = torch.autograd.grad(loss, canvas.learned)
            optimiser.step()
            count()
    if not bool(canvas.learned.isfinite().all()):
        raise RunFailed(f"{network.name}: the gradients of {layer or 'its answer'} are no numbers")
    with torch.no_grad():
        return canvas.draw().mul(255).round().to(torch.uint8).cpu()


def _weigh(maps: Tensor, objective: Objective, copies: int) -> Tensor:
    """What likeness costs: as much as the spread of scores between pictures, so that neither term is drowned."""
    scale = objective(maps).detach().abs().mean()
    return DIVERSITY * scale * measure_likeness(maps, copies).sum()
