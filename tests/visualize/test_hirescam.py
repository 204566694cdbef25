"""HiResCAM: its map adds up to the logit where it can, and says what each place adds."""

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_sample_images

import headstart
from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.predict.load import load_network
from headstart.predict.network import Network
from headstart.visualize.why.hirescam import compute_hirescam
from headstart.visualize.why.layers import choose_layer
from headstart.visualize.why.maps import Maps

PHOTOS = load_sample_images().images


def make(name: str, side: int = 64, weights: str = "none", **args: object) -> Network:
    return load_network(ModelConfig(name, weights, args), torch.device("cpu"), side)


def see(network: Network, n: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalised crops of photographs, the logits of the whole network, and the class that each gets."""
    crops = [PHOTOS[at % 2][40 * at : 40 * at + 200, 60 * at : 60 * at + 200] for at in range(n)]
    images = network.normalize(network.decode(crops))
    with torch.no_grad():
        logits = network.module(images)
    return images, logits, logits.argmax(1)


def test_a_map_and_the_bias_are_the_logit_with_real_weights() -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    images, logits, answers = see(network)
    bias = network.network.get_classifier().bias.detach()
    for targets in (answers, (answers + 7) % 1000):  # of a class that it does not see, too
        maps = compute_hirescam(network, images, targets)
        assert maps.values.shape == (3, 7, 7)
        expected = logits.gather(1, targets[:, None])[:, 0]
        torch.testing.assert_close(maps.values.sum((1, 2)) + bias[targets], expected, rtol=0, atol=1e-4)
        assert maps.is_exact
        assert maps.gaps.abs().max() < 1e-4


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "resnet20_cifar"])
def test_exact_where_the_head_is_pooling_and_one_linear_layer(name: str) -> None:
    network = make(name)
    images, logits, targets = see(network)
    maps = compute_hirescam(network, images, targets)
    assert maps.is_exact
    torch.testing.assert_close(maps.logits, logits.amax(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "convnext_atto", "alexnet"])
def test_to_first_order_where_it_has_more_layers(name: str) -> None:
    network = make(name, 96)
    images, logits, targets = see(network)
    maps = compute_hirescam(network, images, targets)
    assert not maps.is_exact
    assert maps.values.isfinite().all()
    assert maps.values.abs().max() > 0
    torch.testing.assert_close(maps.logits, logits.amax(1), rtol=1e-4, atol=1e-5)


def test_a_layer_by_its_name() -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    images, _, targets = see(network, 2)
    before = compute_hirescam(network, images, targets)
    torch.testing.assert_close(compute_hirescam(network, images, targets, "bn2").values, before.values)
    inner = compute_hirescam(network, images, targets, "blocks.4")
    assert inner.values.shape == (2, 14, 14)
    assert not inner.is_exact
    again = compute_hirescam(network, images, targets)  # no hook is left behind
    torch.testing.assert_close(again.values, before.values)


def test_an_inner_map_is_the_derivative_of_the_logit() -> None:
    """To scale one place of the layer's map by 1 + e adds e times the map's value there to the logit."""
    network = make("resnet18")
    images, _, targets = see(network, 1)
    found = compute_hirescam(network, images, targets, "layer3")
    y, x = divmod(int(found.values[0].abs().argmax()), found.values.shape[2])

    def scale(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[:, :, y, x] *= 1 + 1e-2
        return changed

    handle = network.network.layer3.register_forward_hook(scale)
    with torch.no_grad():
        changed = network.module(images)[0, targets[0]]
    handle.remove()
    assert float(changed - found.logits[0]) == pytest.approx(1e-2 * float(found.values[0, y, x]), rel=0.1)


def test_a_coarse_map_gives_way_to_an_earlier_layer() -> None:
    assert choose_layer(make("resnet18", 224)) is None
    assert choose_layer(make("resnet18", 64)) == "layer3"
    assert choose_layer(make("lenet5", 32)) == "s4"  # what its head reads is a single place
    assert choose_layer(make("linear", 32)) is None


def test_wrong_layers_are_named() -> None:
    network = make("resnet18")
    images, _, targets = see(network, 1)
    with pytest.raises(UserError, match=r"layer fc: its output .* is no map"):
        compute_hirescam(network, images, targets, "fc")
    transformer = make("vit_tiny_patch16_224", 224)
    images, _, targets = see(transformer, 1)
    with pytest.raises(UserError, match="is no map; use --method occlusion"):
        compute_hirescam(transformer, images, targets)


def test_a_head_on_several_stages(run_small: Callable[..., dict]) -> None:
    probe = "strategy.phases.head.probe"
    chosen = (f"{probe}._target_=headstart.probe.LinearHeads", f"+{probe}.layers=[-1,-2]", f"+{probe}.poolings=[avg]")
    result = run_small("strategy=feature_extraction", *chosen)
    network = headstart.load(result["folder"], "cpu")
    assert network.own_head is not None
    images, logits, targets = see(network)
    maps = compute_hirescam(network, images, targets)
    assert maps.is_exact
    torch.testing.assert_close(maps.logits, logits.amax(1), rtol=1e-4, atol=1e-4)


def test_maps_of_other_resolutions_are_drawn_alike() -> None:
    coarse = Maps(torch.full((1, 2, 2), 4.0), torch.zeros(1), torch.zeros(1))
    fine = Maps(torch.full((1, 4, 4), 1.0), torch.zeros(1), torch.zeros(1))
    torch.testing.assert_close(coarse.resize(8), fine.resize(8))
