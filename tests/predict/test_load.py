"""What `headstart.load` finds, what it refuses in words, and what it never does with a folder."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from sklearn.datasets import load_sample_images

import headstart
from headstart.errors import UserError
from predict.runs import make_run


def test_a_name_of_conf_model_gives_its_weights_and_the_names_of_imagenet() -> None:
    network = headstart.load("efficientnet_lite0", device="cpu")
    assert (network.name, network.image_size, network.pretrained) == ("tf_efficientnet_lite0", 224, True)
    assert (network.mean, network.folder, network.device) == ((0.5, 0.5, 0.5), None, torch.device("cpu"))
    assert len(set(network.classes)) == 1000, "the two cranes are told apart"
    palace, flower = network.predict(load_sample_images().images, top=3)
    assert (palace.labels[0], flower.labels[0]) == ("palace", "daisy")
    assert palace.probabilities[0] > palace.probabilities[1]


def test_a_network_says_in_a_line_or_two_what_it_is() -> None:
    folder = make_run("neighbours").folder
    first, second = repr(headstart.load(folder, "cpu")).splitlines()
    assert first.startswith("<Network tf_efficientnet_lite0, 10 classes (0, 1, 2, …), ")
    assert first.endswith(" px, cpu,")
    assert second == f" folder {folder}>"
    random = repr(headstart.load("lenet5", "cpu"))
    assert random == "<Network lenet5, 10 classes (class 0, class 1, class 2, …), 32 px, cpu, random weights>"


def test_without_trained_weights_a_name_gives_random_ones_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        one, other = (headstart.load("lenet5", "cpu") for _ in range(2))
    assert not one.pretrained
    assert "random weights" in caplog.text
    assert one.classes == [f"class {at}" for at in range(10)]
    assert all(torch.equal(*pair) for pair in zip(one.network.parameters(), other.network.parameters(), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a completed run, to be spoilt."""
    return Path(shutil.copytree(make_run("neighbours").folder, tmp_path / "study" / "run"))


def test_what_is_no_trained_network_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    for name, words in {
        "resnet5O": "did you mean resnet50",
        "lenett": "in conf/model there is lenet5",
        str(tmp_path / "nothing"): "is no folder of a run",
        str(folder.parent): f"is a study; name one of its runs:\n  {folder}",
    }.items():
        with pytest.raises(UserError, match=re.escape(words)):
            headstart.load(name)
    with pytest.raises(UserError, match="device=gpu7: this machine has no such device"):
        headstart.load("lenet5", "gpu7")


def test_weights_that_were_not_kept_are_refused_with_the_command_that_makes_them(folder: Path) -> None:
    (folder / "checkpoints" / "best.safetensors").unlink()
    with pytest.raises(UserError, match=r"keep=none.*: headstart train data=image_folder .* rerun=true keep=best$"):
        headstart.load(folder)


def test_a_run_that_is_not_complete_is_refused(folder: Path) -> None:
    (folder / "result.json").unlink()
    (folder / "state.json").write_text(json.dumps({"status": "interrupted"}))
    with pytest.raises(UserError, match=r"not complete \(its status: interrupted\).*: headstart train data="):
        headstart.load(folder)
    (folder / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json is damaged"):
        headstart.load(folder)


def test_nothing_that_a_folder_names_is_imported_or_called(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'harmed')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config |= {"imports": ["evil_module"]}
    (folder / "config.yaml").write_text(yaml.dump(config, sort_keys=False))
    assert headstart.load(folder).classes, "what the network does not need is left alone"
    config["strategy"]["phases"]["head"]["probe"] = {"_target_": "evil_module.Probe"}
    (folder / "config.yaml").write_text(yaml.dump(config, sort_keys=False))
    with pytest.raises(UserError, match=r"imports=\['evil_module'\].*--imports"):
        headstart.load(folder)
    config["strategy"]["phases"]["head"]["probe"] = {"_target_": "os.mkdir", "path": str(tmp_path / "harmed")}
    (folder / "config.yaml").write_text(yaml.dump(config, sort_keys=False))
    with pytest.raises(UserError, match="only a probe"):
        headstart.load(folder)
    assert not (tmp_path / "harmed").exists()
