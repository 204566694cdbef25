"""The private parts of timm do what timm does in public, in the installed version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch

from headstart.models.timm_internals import build_efficientnet, read_folder_config


@pytest.mark.parametrize("form", ["new", "old"])
def test_a_folders_config_is_that_of_the_network_built_from_it(form: str, tmp_path: Path) -> None:
    expected = {"input_size": [3, 48, 48], "crop_pct": 0.7, "mean": [0.1, 0.2, 0.3], "num_classes": 7}
    content = {
        "architecture": "test_resnet",
        "num_classes": 7,
        "pretrained_cfg": expected,
        "model_args": {"drop_rate": 0.25},
    }
    if form == "old":
        content = {"architecture": "test_resnet"} | expected
    (tmp_path / "config.json").write_text(json.dumps(content))
    cfg, name, args = read_folder_config(str(tmp_path))
    assert (name, args) == ("test_resnet", {"drop_rate": 0.25} if form == "new" else {})
    assert {key: cfg[key] for key in expected} == expected
    with torch.device("meta"):
        built = timm.create_model(f"local-dir:{tmp_path}").pretrained_cfg
    assert [built["architecture"], built["file"]] == [name, cfg["file"]]
    for key, value in expected.items():
        assert torch.equal(torch.tensor(built[key]), torch.tensor(value)), key


def test_a_folder_without_a_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_folder_config(str(tmp_path))


# (timm's name, its multipliers of B0's repeats and channels)
@pytest.mark.parametrize(("name", "depth", "width"), [("b0", 1.0, 1.0), ("b1", 1.1, 1.0), ("b3", 1.4, 1.2)])
def test_efficientnets_are_those_that_timm_registers(name: str, depth: float, width: float) -> None:
    with torch.device("meta"):
        registered = timm.create_model(f"efficientnet_{name}")
        built = build_efficientnet(f"efficientnet_{name}", depth=depth, width=width, pretrained=False)
    assert {k: v.shape for k, v in built.state_dict().items()} == {
        k: v.shape for k, v in registered.state_dict().items()
    }
