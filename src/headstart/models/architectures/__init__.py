"""Importing this module registers every architecture of headstart's own with timm."""

from headstart.models.architectures import (  # noqa: F401
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
