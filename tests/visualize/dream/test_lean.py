"""Gradients that keep less memory are the usual ones."""

from __future__ import annotations

import pytest
import torch

import headstart
from headstart.visualize.dream.lean import save_memory
from headstart.visualize.forward import run_to, to_input, without_weight_gradients


@pytest.mark.parametrize(
    ("name", "layer"),
    [("efficientnet_lite0", "blocks.2"), ("googlenet_small", "inception3b"), ("resnet_small", "layer2")],
)
def test_the_gradient_in_the_image_is_the_usual_one(name: str, layer: str) -> None:
    network = headstart.load(name, "cpu")
    image = to_input(network, torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    gradients, kept = [], []

    def compute() -> None:
        sizes = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            if not isinstance(tensor, torch.nn.Parameter):
                sizes.append(tensor.nbytes)
            return tensor

        point = image.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = run_to(network.network, point, {layer: lambda maps: maps})[layer].square().sum()
        gradients.append(torch.autograd.grad(loss, point)[0])
        kept.append(sum(sizes))

    with without_weight_gradients(network):
        compute()
        with save_memory():
            compute()
    usual, lean = gradients
    torch.testing.assert_close(lean, usual, rtol=1e-3, atol=1e-4 * float(usual.abs().max()))
    assert kept[1] < kept[0] / 2
