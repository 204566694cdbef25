"""The answer for one image that somebody sent: labels, where the network looks, and whether it knows such images."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from headstart.data.decode import describe_fault, silence_pillow
from headstart.visualize.why.hirescam import compute_hirescam, has_gradient
from headstart.visualize.why.layers import choose_layer
from headstart.visualize.why.report import to_array
from headstart.visualize.why.sheet import STRONGEST, paint

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.trust.unlike import Familiar

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # none of those that Pillow hands to other programs
MOST_PIXELS = 50_000_000
TOP = 5


class RefusedError(Exception):
    """An image that gets no answer; its text is the sentence for whoever sent it."""


@dataclass(frozen=True)
class Answerer:
    """Answers for single images.

    Attributes:
        familiar: what tells images that are unlike the training images; None: nothing does.
    """

    network: Network
    familiar: Familiar | None = None

    def answer(self, content: bytes) -> dict[str, Any]:
        """The answer for an image file, as the page's script reads it.

        Raises:
            RefusedError: it is no image, or too large.
        """
        image = open_image(content)
        network, calibrated = self.network, self.network.temperature is not None
        (found,) = network.predict(image, TOP, calibrated=calibrated)
        if found.error is not None:
            raise RefusedError(f"This image cannot be read: {found.error}.")
        pixels = network.decode(image)
        told: dict[str, Any] = {
            "labels": found.labels,
            "probabilities": [None if math.isnan(value) else value for value in found.probabilities],
            "calibrated": calibrated,
            "seen": _as_url(to_array(pixels[0])),
            "overlay": self._explain(pixels, found.labels[0]),
            "unlike": None,
        }
        if self.familiar is not None:
            (told["unlike"],) = self.familiar.find_unlike(network, [image]).tolist()
        return told

    def _explain(self, pixels: torch.Tensor, label: str) -> str | None:
        """The image with the HiResCAM map of a class over it; None where the head has no gradient."""
        network = self.network
        if not has_gradient(network):
            return None
        target = torch.tensor([network.classes.index(label)], device=network.device)
        maps = compute_hirescam(network, network.normalize(pixels.to(network.device)), target, self._layer)
        density = maps.resize(network.image_size)[0].numpy()
        scale = float(np.quantile(np.abs(density), STRONGEST)) or 1.0
        return _as_url(paint(to_array(pixels[0]), density / scale))

    @cached_property
    def _layer(self) -> str | None:
        return choose_layer(self.network)


def open_image(content: bytes) -> Image.Image:
    """Open an image file; its pixels are not decoded yet, so that the network's transform does it as for any file.

    Raises:
        RefusedError: it is no image in one of the `FORMATS`, or has more than `MOST_PIXELS`.
    """
    try:
        with silence_pillow():
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError as error:
        raise RefusedError(f"This is no image: the file is none of {', '.join(FORMATS)}.") from error
    except Exception as error:  # decoders raise many kinds of errors
        raise RefusedError(f"This image cannot be read: {describe_fault(error)}.") from error
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,} × {image.height:,} pixels"
        raise RefusedError(f"This image is too large: {size}, and {MOST_PIXELS:,} are the most.")
    return image


def encode(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _as_url(pixels: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encode(Image.fromarray(pixels))).decode("ascii")
