"""Networks that timm does not have, written from their papers; importing this module registers them with timm."""

from headstart.models.architectures import (
    alexnet,
    cifar,
    densenet_cifar,
    efficientnet_scaled,
    googlenet,
    lenet,
    linear,
    nasnet_mobile,
    shake_shake,
    stacked_kernels,
    vgg_scaled,
)

__all__ = [
    "alexnet",
    "cifar",
    "densenet_cifar",
    "efficientnet_scaled",
    "googlenet",
    "lenet",
    "linear",
    "nasnet_mobile",
    "shake_shake",
    "stacked_kernels",
    "vgg_scaled",
]
