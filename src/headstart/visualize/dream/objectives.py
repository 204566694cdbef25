"""What a dream amplifies: all that a layer sees, or what it also sees in a guide image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from headstart.visualize.forward import run_to, to_input

if TYPE_CHECKING:
    from headstart.predict.network import Network

GUIDE = 224  # pixels of the longer side of a guide image
LECTURE = ("inception4c", "inception_4c")  # of GoogLeNet, in the original notebook and in torchvision's form
LECTURE_GUIDED = ("inception3b", "inception_3b")


def amplify(maps: Tensor) -> Tensor:
    """Half the square of each position's vector: its gradient in the map is the map itself."""
    return maps.square().sum(1) / 2


def follow(guide: Tensor) -> Callable[[Tensor], Tensor]:
    """The product of each position's vector with the one of the guide's map [1, c, h, w] that gives most."""
    vectors = guide[0].flatten(1)  # [c, positions]

    def activity(maps: Tensor) -> Tensor:
        return torch.einsum("nchw,cp->nhwp", maps, vectors).amax(3)

    return activity


@torch.no_grad()
def make_activity(
    network: Network, layers: Iterable[str], guide: Image.Image | None
) -> dict[str, Callable[[Tensor], Tensor]]:
    """What is amplified in each layer."""
    import numpy as np

    names = list(layers)
    if guide is None:
        return dict.fromkeys(names, amplify)
    guide = guide.copy()
    guide.thumbnail((GUIDE, GUIDE), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(guide)).permute(2, 0, 1)[None].to(network.device).float() / 255
    maps = run_to(network.network, to_input(network, pixels), dict.fromkeys(names, torch.clone))
    return {name: follow(maps[name]) for name in names}
