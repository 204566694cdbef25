"""Published ImageNet accuracies of the pretrained weights that runs start from, each with its source.

An accuracy belongs to weights, not to an architecture alone: timm's several recipes of a ResNet-50 lie 4 points apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from headstart.models.keras_table import ROWS

TORCHVISION = "torchvision IMAGENET1K_V1"
LITE = "EfficientNet-Lite's README, github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
KERAS = "Keras Applications, whose weights are its own"
# FP32 accuracy of the checkpoints that timm's tf_ weights and the packages' were converted from.
LITES = {"tf_efficientnet_lite0": 75.1, "tf_efficientnet_lite1": 76.7, "tf_efficientnet_lite2": 77.6}


@dataclass(frozen=True)
class Published:
    """Accuracies in %, top-5 where it is told too, and who published them."""

    top1: float
    source: str
    top5: float | None = None


def top1(name: str) -> Published | None:
    """The published accuracy of ``model.name``, or None.

    A name with the tag ``tv_in1k`` has that of torchvision's weights, an EfficientNet-Lite its makers', and another
    name that of Keras' weights of the same architecture.
    """
    base, _, tag = name.partition(".")
    if tag == "tv_in1k":
        return torchvision(base)
    if base in LITES and not tag:
        return Published(LITES[base], LITE)
    return next((Published(row.top1, KERAS, row.top5) for row in ROWS if row.model == name), None)


def torchvision(base: str) -> Published | None:
    """What torchvision says of its first weights of a network, by timm's or its own name."""
    from torchvision import models

    try:
        figures = models.get_model_weights(base)["IMAGENET1K_V1"].meta["_metrics"]["ImageNet-1K"]
    except (KeyError, ValueError):
        return None
    return Published(figures["acc@1"], TORCHVISION, figures["acc@5"])
