"""The input that a network expects, and what runs and folders say of the network whose weights they hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import yaml

from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import preprocessing
from headstart.models.input import CROP_MODES, Input
from headstart.models.preprocessing import OVERLAY

STATED = {
    "image_size": 48,
    "crop_pct": 0.9,
    "interpolation": "bilinear",
    "mean": [0.1, 0.2, 0.3],
    "std": [0.5, 0.5, 0.5],
    "resize": "squash",
}
EXPECTED = Input(48, 0.9, "bilinear", (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), "squash")


def write_run(folder: Path, **model: Any) -> Path:
    """A run's folder, as far as it says what its network is."""
    config = {"model": {"name": "lenet5", "weights": "none", "args": {"variant": "modern"}} | model}
    (folder / "checkpoints" / "head").mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (folder / "config.yaml").write_text(yaml.dump(config | {"data": {"image_size": 48}, "preprocessing": STATED}))
    return folder


def test_a_runs_weights_come_with_its_input_and_arguments(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for weights in (f"run:{run}", str(run / "checkpoints" / "x.pth"), str(run / "checkpoints" / "head" / "x.pth")):
        config = preprocessing.adopt(ModelConfig("lenet5", weights))
        assert config == ModelConfig("lenet5", weights, {"variant": "modern"})
        assert preprocessing.adopt(config) == config
        assert preprocessing.expected_input(config) == EXPECTED
    elsewhere = ModelConfig("lenet5", str(run / "x.pth"), {"variant": "classic"})
    assert preprocessing.adopt(elsewhere) == elsewhere


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"args": {"variant": "classic"}}, r'model.args.variant="classic", but they were trained with "modern"'),
        ({"args": {"padding": 2}}, "model.args.padding=2, but they were trained without it"),
        ({"args": {OVERLAY: {"mean": [0.5, 0.5, 0.5]}}}, r"mean=.* but they were trained with \[0.1, 0.2, 0.3\]"),
        ({"args": {OVERLAY: {"crop_mode": "border"}}}, r'crop_mode="border", but they were trained with "squash"'),
        ({"name": "linear"}, "holds lenet5, but model.name=linear"),
    ],
    ids=str,
)
def test_other_arguments_than_the_runs_are_refused(changes: dict, words: str, tmp_path: Path) -> None:
    config = ModelConfig("lenet5", f"run:{write_run(tmp_path / 'run')}")
    with pytest.raises(UserError, match=words):
        preprocessing.adopt(replace(config, **changes))


def test_dropout_and_what_agrees_are_not_refused(tmp_path: Path) -> None:
    own = {"variant": "modern", OVERLAY: {"mean": (0.1, 0.2, 0.3), "crop_mode": "squash"}, "drop_rate": 0.5}
    config = ModelConfig("lenet5", f"run:{write_run(tmp_path / 'run')}", own)
    assert preprocessing.adopt(config).args == own


def test_a_run_of_an_earlier_version_had_what_its_config_gives(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", args={OVERLAY: {"mean": [0.4, 0.4, 0.4]}})
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["preprocessing"]
    (run / "config.yaml").write_text(yaml.dump(config))
    seen = preprocessing.expected_input(ModelConfig("lenet5", f"run:{run}"))
    assert (seen.image_size, seen.mean, seen.resize) == (48, (0.4, 0.4, 0.4), "crop")


@pytest.mark.parametrize("text", ["", "a: [", "model: {}", "model: {name: lenet5}\npreprocessing: {mean: [1]}"])
def test_a_damaged_config_is_an_error(text: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"model.weights=run:.*config.yaml cannot be read"):
        preprocessing.expected_input(ModelConfig("lenet5", f"run:{run}"))


def test_a_folder_comes_with_its_input_and_arguments(tmp_path: Path) -> None:
    cfg = {"input_size": [3, 48, 48], "crop_mode": "border", "mean": [0.1, 0.2, 0.3], "num_classes": 7}
    content = {"architecture": "test_resnet", "pretrained_cfg": cfg}
    arguments = {"output_stride": 16, "num_classes": 7}  # the second is for headstart to choose
    (tmp_path / "config.json").write_text(json.dumps(content | {"model_args": arguments}))
    config = preprocessing.adopt(ModelConfig("test_resnet", f"local-dir:{tmp_path}"))
    assert config.args == {"output_stride": 16}
    seen = preprocessing.expected_input(config)
    assert (seen.image_size, seen.resize, seen.mean) == (48, "pad", (0.1, 0.2, 0.3))
    with pytest.raises(UserError, match="output_stride=8, but they were trained with 16"):
        preprocessing.adopt(replace(config, args={"output_stride": 8}))
    with pytest.raises(UserError, match=r"input_size=\[3, 64, 64\], but they were trained with \[3, 48, 48\]"):
        preprocessing.adopt(replace(config, args={OVERLAY: {"input_size": [3, 64, 64]}}))
    for wrong, words in (({"crop_mode": "tiles"}, "crop_mode 'tiles'"), ({"input_size": [1, 48, 48]}, "1 channel")):
        (tmp_path / "config.json").write_text(json.dumps(content | {"pretrained_cfg": cfg | wrong}))
        with pytest.raises(UserError, match=words):
            preprocessing.expected_input(ModelConfig("test_resnet", f"local-dir:{tmp_path}"))


def test_every_crop_mode_that_timm_publishes_is_known() -> None:
    names = timm.list_pretrained()
    modes = {getattr(timm.models.get_pretrained_cfg(name), "crop_mode", None) for name in names}
    assert modes == set(CROP_MODES)
    seen = preprocessing.expected_input(ModelConfig("convnext_base.fb_in22k_ft_in1k_384"))
    assert (seen.image_size, seen.crop_pct, seen.resize) == (384, 1.0, "squash")


def test_the_stated_preprocessing_cannot_be_set() -> None:
    stated = preprocessing.state(EXPECTED, 64, "crop", {})
    assert stated == STATED | {"image_size": 64, "resize": "crop"}
    assert preprocessing.state(EXPECTED, 64, "crop", stated) == stated
    with pytest.raises(UserError, match=r"preprocessing.std=.* by its own key: data.image_size"):
        preprocessing.state(EXPECTED, 64, "crop", {"std": [1, 1, 1]})
    assert preprocessing.digest("run:x", stated) != preprocessing.digest("run:x", STATED)
    assert preprocessing.digest("x.pth", stated) == {}
    words = preprocessing.describe(stated, 71)
    assert words.startswith("data.resize=crop: shorter side to 71 px (bilinear), then the centre of 64 px")
