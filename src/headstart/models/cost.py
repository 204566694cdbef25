"""What a network costs before it has seen a picture: multiply-adds, megabytes, layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

BYTES = 4  # of a float32
MB = 2**20


def gmacs(model: nn.Module, image_size: int, channels: int = 3) -> float:
    """Multiply-adds of one forward pass of one image, in units of 10^9 (convolutions and matrix products).

    Nothing is computed where the network lies on torch's meta device.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, channels, image_size, image_size, device=device))
    return float(counter.get_total_flops() / 2e9)


def parameters(model: nn.Module) -> int:
    """All parameters; running statistics are buffers, and not among them."""
    return sum(parameter.numel() for parameter in model.parameters())


def size_mb(model: nn.Module) -> float:
    """Parameters and running statistics as float32, in units of 2^20 bytes: what a file of weights takes."""
    statistics = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    return BYTES * (parameters(model) + statistics) / MB


def layers(model: nn.Module) -> int:
    """Layers with weights of their own: convolutions, norms and linear layers, wherever in the network they stand."""
    return sum(1 for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
