"""What real runs keep of their weights, and how much room it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from headstart import train
from headstart.errors import UserError
from headstart.models import factory, weights

PROBE = "strategy.phases.head.probe._target_=headstart.probe.NearestNeighbours"


@pytest.fixture
def study(run_small: Callable[..., dict], tmp_path: Path) -> Callable[..., dict]:
    """Run an experiment on a small network whose first weights are in a file."""
    torch.manual_seed(0)
    weights.save(timm.create_model("test_resnet"), tmp_path / "base.safetensors")
    network = ("model=timm", "model.name=test_resnet", f"model.weights={tmp_path / 'base.safetensors'}")
    return lambda *options: run_small(*network, *options)


def stored(folder: Path) -> dict[str, int]:
    """The files with weights in a folder, and their sizes."""
    paths = sorted(folder.rglob("*.safetensors"))
    return {str(path.relative_to(folder)): path.stat().st_size for path in paths}


def test_a_study_stores_what_was_learnt_once(study: Callable[..., dict], tmp_path: Path) -> None:
    """Before: each run stored the whole network twice."""
    runs = [study("strategy=feature_extraction", f"seed={seed}") for seed in range(3)]
    runs.append(study("strategy=finetune", "epochs=1"))
    whole = (tmp_path / "base.safetensors").stat().st_size
    sizes = [stored(run["folder"]) for run in runs]
    assert all(list(files) == ["checkpoints/best.safetensors"] for files in sizes)
    before, after = 2 * len(runs) * whole, sum(sum(files.values()) for files in sizes)
    print(f"weights of three feature extractions and one fine-tuning: {before:,} -> {after:,} bytes")
    assert after < before / 7
    facts = weights.read_facts(runs[0]["folder"] / weights.FINAL)
    assert facts["classes"] == runs[0]["classes"]
    assert facts["transform"] == runs[0]["preprocessing"]
    assert {"mean", "std", "image_size", "interpolation", "crop_pct"} <= facts["transform"].keys()
    assert (facts["strategy"], facts["model"]["name"]) == ("feature_extraction", "test_resnet")
    assert facts["versions"] == runs[0]["versions"]
    body = load_file(tmp_path / "base.safetensors")
    for run in runs:
        state = factory.read_tensors(run["folder"] / weights.FINAL)[0]
        same = [torch.equal(state[name], body[name]) for name in body if not name.startswith("fc.")]
        assert all(same) == (run["strategy"] == "feature_extraction")
    assert "base" not in weights.read_facts(runs[-1]["folder"] / weights.FINAL), "every layer was trained"


def test_all_best_or_none_are_kept(
    study: Callable[..., dict], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    two = ("strategy=head_then_all", "epochs=1")
    kept = study(*two, "keep=all")
    assert list(stored(kept["folder"])) == [f"checkpoints/{name}best.safetensors" for name in ("all/", "", "head/")]
    tensors = factory.read_tensors(kept["folder"] / weights.FINAL)[0]
    best = study(*two, "rerun=true")
    assert list(stored(best["folder"])) == ["checkpoints/best.safetensors"]
    again = factory.read_tensors(best["folder"] / weights.FINAL)[0]
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    assert best["config_hash"] == kept["config_hash"], "what is kept is no part of a run's identity"
    none = study(*two, "rerun=true", "keep=none")
    assert stored(none["folder"]) == {}
    assert not (none["folder"] / "checkpoints").exists()
    assert (none["folder"] / "predictions.csv").is_file()
    assert none["test"] == kept["test"]
    caplog.set_level("INFO")
    study(*two)
    assert "keep=best: its weights were not kept when it ran" in caplog.text
    with pytest.raises(UserError, match=r"is complete, but its weights were not kept.*rerun=true keep=best"):
        study("strategy=finetune", f"model.weights=run:{none['folder']}")


def test_a_run_that_was_cut_off_keeps_no_more_than_it_is_told_to_when_it_goes_on(
    study: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "finish_run", cut)
        with pytest.raises(KeyboardInterrupt):
            study("strategy=feature_extraction", PROBE)
    (folder,) = (path.parent for path in tmp_path.rglob("state.json"))
    assert set(stored(folder)) == {
        "checkpoints/best.safetensors", "checkpoints/head/best.safetensors", weights.PROBE
    }  # fmt: skip
    assert stored(study("strategy=feature_extraction", PROBE, "keep=none")["folder"]) == {}


def test_a_head_beside_the_network_leaves_no_network_with_an_unfitted_head(study: Callable[..., dict]) -> None:
    run = study("strategy=feature_extraction", PROBE, "keep=all")
    paths = list(run["folder"].glob("checkpoints/**/best.safetensors"))
    assert len(paths) == 2
    for path in paths:
        assert not [name for name in load_file(path) if name.startswith("fc.")], path
        with pytest.raises(RuntimeError, match=r"Missing key"):
            timm.create_model("test_resnet", num_classes=10).load_state_dict(factory.read_tensors(path)[0])
