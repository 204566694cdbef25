"""HiResCAM maps of the images that the page shows, laid over their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from headstart.predict.load import load
from headstart.predict.network import Network
from headstart.report.page.pictures import Shown
from headstart.visualize.sheet import enlarge
from headstart.visualize.why.hirescam import compute_hirescam
from headstart.visualize.why.layers import choose_layer
from headstart.visualize.why.sheet import Panel, Sheet, paint


class MapDrawer:
    """Explains images by the networks of the runs that answered; some networks stay in memory."""

    def __init__(self) -> None:
        self._load = lru_cache(maxsize=4)(load)

    def draw(
        self, shown: Sequence[Shown], images: Sequence[Image.Image], side: int
    ) -> tuple[list[list[Image.Image]], bool]:
        """The pictures with each of their maps, a list for each image; and whether all have one scale of colours.

        Where a row gives no probabilities, its scores have a unit of their own, and each view its scale.

        Args:
            images: decoded whole, in the order of `shown`.
            side: the longer side of a picture, in pixels.

        Raises:
            UserError: a network was not kept, or has no map.
        """
        pictures = [enlarge(image.convert("RGB"), side) for image in images]
        views, alike = range(len(shown[0].explained)), True
        placed: list[list[np.ndarray]] = [[] for _ in shown]
        for view in views:
            runs = {id(each.explained[view][0]): each.explained[view][0] for each in shown}
            found: dict[int, np.ndarray] = {}
            for run in runs.values():
                network = self._load(run.folder)
                alike &= network.gives_probabilities
                own = [at for at, each in enumerate(shown) if each.explained[view][0] is run]
                targets = [shown[at].explained[view][1] for at in own]
                densities = compute_densities(network, [images[at] for at in own], targets)
                for at, density in zip(own, densities, strict=True):
                    found[at] = place_map(density, network, images[at].size, pictures[at].size)
            for at in range(len(shown)):
                placed[at].append(found[at])
        groups = [
            [Panel(np.asarray(picture), density=density) for density in own]
            for picture, own in zip(pictures, placed, strict=True)
        ]
        scales = Sheet("", groups, scaled_alike=alike).find_scales()
        drawn = [
            [
                Image.fromarray(paint(panel.image, panel.density / (scale or 1)))
                for panel, scale in zip(group, scales, strict=True)
                if panel.density is not None
            ]
            for group in groups
        ]
        return drawn, alike


def compute_densities(network: Network, images: Sequence[Image.Image], targets: Sequence[int]) -> list[np.ndarray]:
    """What each place of the network's input adds to the logit of a class of each image, [s, s]: `Maps.density`."""
    pixels = network.normalize(network.decode(list(images)).to(network.device))
    maps = compute_hirescam(network, pixels, torch.tensor(targets, device=network.device), choose_layer(network))
    return list(maps.resize(network.image_size).numpy())


def place_map(density: np.ndarray, network: Network, whole: tuple[int, int], picture: tuple[int, int]) -> np.ndarray:
    """Lay what the network sees, a square of the image, over the picture of the whole image: float32 [h, w].

    It is 0 where the network sees nothing.

    Args:
        whole, picture: width and height of the image and of its picture, in pixels.
    """
    square = network.transform.square
    height, width = square.fit(whole[1], whole[0])
    offset = round((square.size - square.crop) / 2)
    left, top = square.place(width) + offset, square.place(height) + offset
    across, down = width / picture[0], height / picture[1]  # pixels of the resized image for one of the picture
    laid = Image.fromarray(density.astype(np.float32)).transform(
        picture, Image.Transform.AFFINE, (across, 0, -left, 0, down, -top), Image.Resampling.BILINEAR
    )
    return np.asarray(laid)
