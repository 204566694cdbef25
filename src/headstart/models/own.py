"""Importing this module registers every architecture of headstart's own with timm."""

from headstart.models import (  # noqa: F401
    cifar,
    densenet_cifar,
    efficientnet_scaled,
    linear,
    nasnet_mobile,
    shake_shake,
)
