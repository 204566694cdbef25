"""The static cost of a network: multiply-adds, parameters, megabytes, layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

BYTES = 4  # of a float32
MB = 2**20


def count_gmacs(model: nn.Module, image_size: int, channels: int = 3) -> float:
    """Count the multiply-adds of one forward pass of one image, in units of 10^9 (convolutions and matrix products).

    If the network is on torch's meta device, nothing is computed.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, channels, image_size, image_size, device=device))
    return float(counter.get_total_flops() / 2e9)


def count_parameters(model: nn.Module) -> int:
    """Count all parameters, without the running statistics, which are buffers."""
    return sum(parameter.numel() for parameter in model.parameters())


def compute_size_mb(model: nn.Module) -> float:
    """The size of a file of weights, in units of 2^20 bytes: parameters and running statistics as float32."""
    statistics = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    return BYTES * (count_parameters(model) + statistics) / MB


def count_layers(model: nn.Module) -> int:
    """Count the layers with weights of their own: convolutions, norms and linear layers."""
    return sum(1 for module in model.modules() if next(module.parameters(recurse=False), None) is not None)
