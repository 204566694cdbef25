"""Maps by captum (an extra): integrated gradients, and what the logit loses when a window of the image is covered."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from headstart.errors import UserError
from headstart.predict.network import Network
from headstart.tracking import progress
from headstart.visualize.why.maps import Maps

STEPS = 50  # points on the way from the empty image to the image
BATCH = 16  # images that the network sees at a time
PLACES = 28  # pixels are summed to so many places on a side, or up to twice as many
WINDOW = 6  # windows on a side of the image; they overlap by half


def integrate_gradients(network: Network, images: Tensor, targets: Tensor) -> Maps:
    """Integrated gradients (Sundararajan et al. 2017) from an image of the mean colour to each image [n, 3, s, s].

    The maps add up to the difference of the two images' logits, but for the error of the sum over `STEPS` points.
    """
    method = _import_captum().IntegratedGradients(network.module)

    def explain(image: Tensor, target: Tensor) -> Tensor:
        values = method.attribute(image, target=target, n_steps=STEPS, internal_batch_size=BATCH)
        block = max(1, image.shape[-1] // PLACES)
        pixels = values.sum(1, keepdim=True).float()
        return functional.avg_pool2d(pixels, block, ceil_mode=True, divisor_override=1)[:, 0]

    return _explain_each(network, images, targets, explain)


def occlude(network: Network, images: Tensor, targets: Tensor) -> Maps:
    """What the logit loses when a window is covered with the mean colour (Zeiler & Fergus 2014), per pixel of it.

    A pixel gets the mean over the windows that cover it.
    """
    method = _import_captum().Occlusion(network.module)
    side = max(1, round(images.shape[-1] / WINDOW))
    window, step = (images.shape[1], side, side), max(1, side // 2)

    def explain(image: Tensor, target: Tensor) -> Tensor:
        strides = (window[0], step, step)
        with torch.no_grad():
            lost = method.attribute(
                image, window, strides=strides, baselines=0, target=target, perturbations_per_eval=BATCH
            )
        return lost[:, 0].float() / side**2

    return _explain_each(network, images, targets, explain)


def _explain_each(network: Network, images: Tensor, targets: Tensor, explain: Any) -> Maps:
    """The maps of one image after the other; the base is the logit of the mean colour."""
    with torch.no_grad():
        base = network.module(torch.zeros_like(images[:1])).float().cpu()[0, targets.cpu()]
        logits = torch.cat([network.module(some) for some in images.split(BATCH)]).float()
    logits = logits.gather(1, targets[:, None])[:, 0].cpu()
    found = []
    with progress.task("explaining", len(images)) as work:
        for image, target in zip(images.split(1), targets.split(1), strict=True):
            found.append(explain(image, target).detach().cpu())
            work.done += 1
    return Maps(torch.cat(found), logits, base)


def _import_captum() -> Any:
    try:
        from captum import attr
    except ImportError as error:
        raise UserError(
            "--method gradients and --method occlusion need the package captum, which is not installed: "
            "pip install 'headstart[inside]'"
        ) from error
    return attr
