"""Check tensors that got their names by order: equal shapes do not mean that two networks compute the same.

The epsilon of batch norms and the padding of convolutions are in no tensor. EfficientNet-B5 of torchvision, of timm and
of TensorFlow have the same tensors and compute three functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 128  # pixels of the image on which two networks are compared: at even sizes their paddings differ
TENSORFLOW = "_conv_stem.weight"  # in files of efficientnet_pytorch, whose weights are TensorFlow's
TENSORFLOW_EPS = 1e-3
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def check_function(model: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> list[str]:
    """Check that `model`, which has the tensors of `state` by order, computes what their own network does.

    Returns:
        A sentence with what is assumed, if the file's own network is not known.

    Raises:
        UserError: it computes something else.
    """
    if TENSORFLOW in state:
        _check_tensorflow(model, path, name)
        return []
    twin = _find_torchvision(state)
    if twin is None:
        return [
            f"{path.name}: tensors given by order, as their names are not those of {name}; the file does not say how "
            "its network pads and what its norms add to the variance: here "
            f"{_describe(model)}. If it was trained with others, its accuracy is lost"
        ]
    _compare(model, twin, state, path, name)
    return []


def _check_tensorflow(model: nn.Module, path: Path, name: str) -> None:
    if list_eps(model) == [TENSORFLOW_EPS] and pads_same(model):
        return
    raise UserError(
        f"model.weights: {path} has weights of TensorFlow's EfficientNet (SAME padding, eps {TENSORFLOW_EPS}), but "
        f"model.name={name} has {_describe(model)}, so it would compute something else: use model.name=tf_{name}"
    )


def _find_torchvision(state: Mapping[str, Tensor]) -> Any:
    """Build the published network of torchvision that has these tensors by name; None if there is none.

    Its head may have been replaced: the last weight and bias are not compared.
    """
    from torchvision import models

    from headstart.models.outline import without_values

    learnt = [tensor for name, tensor in state.items() if not name.endswith(STATISTICS)]
    if len(learnt) < 2 or learnt[-2].ndim != 2:
        return None
    outputs, width = learnt[-2].shape
    published = sum(tensor.numel() for tensor in learnt) + (1000 - outputs) * (width + 1)
    for name in models.list_models(module=models):
        if models.get_model_weights(name).DEFAULT.meta["num_params"] == published:
            with without_values():
                shapes = {key: value.shape for key, value in models.get_model(name, weights=None).state_dict().items()}
            if list(shapes) == list(state):
                return models.get_model(name, weights=None, num_classes=outputs)
    return None


def _compare(model: nn.Module, twin: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    import torch

    twin.load_state_dict(dict(state))
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    training = model.training
    with torch.no_grad():
        expected, found = twin.eval()(image), model.eval()(image)
    model.train(training)
    if (found - expected).abs().max() <= 1e-3 * expected.abs().max():
        return
    eps = list_eps(twin)
    cure = f"+model.args.bn_eps={eps[0]:g}" if len(eps) == 1 and eps != list_eps(model) else "another model.name"
    raise UserError(
        f"model.weights: {path} is of torchvision's {type(twin).__name__}, which has {_describe(twin)}; "
        f"model.name={name} has {_describe(model)} and computes something else with the same tensors: use {cure}"
    )


def list_eps(model: nn.Module) -> list[float]:
    """What the network's norms add to the variance, each value once."""
    found = (getattr(layer, "eps", None) for layer in model.modules())
    return sorted({eps for eps in found if isinstance(eps, float)})


def pads_same(model: nn.Module) -> bool:
    """Whether a convolution pads as TensorFlow does (SAME), which at even sizes is not symmetric."""
    from timm.layers import Conv2dSame

    return any(isinstance(layer, Conv2dSame) for layer in model.modules())


def _describe(model: nn.Module) -> str:
    padding = "SAME" if pads_same(model) else "symmetric"
    return f"{padding} padding, eps {' and '.join(f'{value:g}' for value in list_eps(model))}"
