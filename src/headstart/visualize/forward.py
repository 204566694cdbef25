"""Run a network up to a layer, on images of any size, and get this layer's map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from headstart.runtime import hardware

if TYPE_CHECKING:
    from headstart.predict.network import Network

Result = TypeVar("Result")


class _Reached(Exception):
    """Every layer that was asked for has computed its output: the rest of the network need not run."""


def run_to(network: Any, images: Tensor, functions: dict[str, Callable[[Tensor], Result]]) -> dict[str, Result]:
    """Run a network on images [n, 3, h, w] until all layers in `functions` have computed their maps, and no further.

    Args:
        functions: by the name of a layer, what is done with its map [n, c, h, w]: at once, because later layers may
            write into the same memory.

    Returns:
        What the functions returned, by layer; a layer that the network does not call is missing.
    """
    found: dict[str, Result] = {}

    def listen(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if name not in found:
                found[name] = functions[name](as_map(output))
            if len(found) == len(functions):
                raise _Reached

        return hook

    with ExitStack() as stack:
        for name in functions:
            stack.callback(network.get_submodule(name).register_forward_hook(listen(name)).remove)
        with suppress(_Reached):
            network(images)
    return found


def as_map(output: Any) -> Tensor:
    """A module's output as a map [n, c, h, w]; of several tensors the first, a vector has 1 x 1 positions."""
    while isinstance(output, tuple | list):
        output = output[0]
    tensor: Tensor = output
    if tensor.ndim == 3:  # a transformer's tokens [n, t, c]
        return tensor.transpose(1, 2)[..., None]
    return tensor.reshape(*tensor.shape[:2], *(1,) * max(0, 4 - tensor.ndim)) if tensor.ndim < 4 else tensor


def lift_ceiling(network: Any, name: str) -> tuple[str, bool]:
    """Where to read a layer that ends in ReLU6 without its ceiling: before it; and whether it is such a layer.

    At the ceiling all channels are 6 at all positions of the pictures that are made for them, and of some images: none
    is above the others, and nothing has a gradient.
    """
    module = network.get_submodule(name)
    ends_so = isinstance(getattr(module, "act", None), nn.ReLU6) and hasattr(module, "drop")
    return (f"{name}.drop", True) if ends_so else (name, False)


@contextmanager
def without_weight_gradients(network: Network) -> Iterator[None]:
    """Inside this context no gradient of a weight is computed: half of the time of the backward pass."""
    learned = [each for each in network.module.parameters() if each.requires_grad]
    for each in learned:
        each.requires_grad_(False)
    try:
        with hardware.use_threads(network.hardware):
            yield
    finally:
        for each in learned:
            each.requires_grad_(True)


def to_input(network: Network, pictures: Tensor) -> Tensor:
    """Turn pictures in 0 … 1 into the network's input, at their own size."""
    mean, std = (torch.tensor(each).view(3, 1, 1).to(pictures) for each in (network.mean, network.std))
    form = hardware.memory_format(network.hardware)
    return ((pictures - mean) / std).contiguous(memory_format=form)


@torch.no_grad()
def find_refusal(network: Network, side: int) -> str | None:
    """Why the network takes no images of this side; None: it takes them."""
    try:
        network.module(torch.zeros(1, 3, side, side, device=network.device))
    except (RuntimeError, AssertionError, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def compute_map(network: Network, inputs: Tensor, layer: str | None) -> Tensor:
    """The map of a layer [n, c, h, w], or the logits as a map [n, classes, 1, 1]."""
    if layer is None:
        logits: Tensor = network.module(inputs)
        return logits[:, :, None, None]
    return run_to(network.network, inputs, {layer: lambda maps: maps})[layer]
