"""A file with what a run learnt: together with its base it is the whole network, or it is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from headstart.config import environment
from headstart.config.schema import ModelConfig
from headstart.errors import UserError
from headstart.models import factory, learnt, weights

NAME = "test_resnet"
HEAD = ("fc.weight", "fc.bias")


def make_base(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    weights.save(timm.create_model(NAME, num_classes=7), path)
    return path


def train_head(folder: Path, base: str, **options: Any) -> Any:
    """A network whose head, and one buffer, were learnt on top of `base`; its file is in `folder` as in a run's."""
    config = ModelConfig(NAME, base)
    model, _ = factory.create(config, ("a", "b", "c"), pretrained=True)
    before = learnt.digest_unlearnt(model, HEAD)
    with torch.no_grad():
        model.fc.weight += 1
        model.bn1.running_mean += 1
    found = learnt.find_unlearnt(model, before, config)
    facts = {"base": found.base, "versions": {"timm": "0.9"}}
    weights.save(model, folder / weights.FINAL, left_out=found.names, facts=facts, **options)
    (folder / "result.json").write_text(json.dumps({"status": "completed", "classes": ["a", "b", "c"]}))
    return model


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_was_learnt_and_its_base_are_the_whole_network(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base.safetensors")
    first = train_head(tmp_path / "first", str(base))
    path = tmp_path / "first" / weights.FINAL
    assert set(load_file(path)) == {*HEAD, "bn1.running_mean"}, "only what was learnt, and buffers that changed"
    assert same(factory.read_tensors(path)[0], first.state_dict())
    second = train_head(tmp_path / "second", f"run:{tmp_path / 'first'}")  # whose base has a base of its own
    assert torch.equal(second.fc.weight, first.fc.weight + 1), "the head was kept"
    assert torch.equal(second.bn1.running_mean, first.bn1.running_mean + 1)
    assert same(factory.read_tensors(tmp_path / "second" / weights.FINAL)[0], second.state_dict())


def test_a_network_that_is_trained_whole_has_no_base(tmp_path: Path) -> None:
    model = timm.create_model(NAME)
    assert learnt.digest_unlearnt(model, {name for name, _ in model.named_parameters()}) == {}
    assert learnt.find_unlearnt(model, {}, ModelConfig(NAME, "none")) == learnt.Unlearnt((), None)


def test_a_base_that_changed_or_is_gone_is_told(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base.safetensors")
    train_head(tmp_path, str(base))
    make_base(base, seed=1)
    with pytest.raises(UserError, match=rf"model.weights={base}, and these weights have changed since.*timm was 0.9"):
        factory.read_tensors(tmp_path / weights.FINAL)
    base.unlink()
    with pytest.raises(UserError, match=r"holds only what its run learnt.*cannot be used: .*there is no file"):
        factory.read_tensors(tmp_path / weights.FINAL)


@pytest.mark.parametrize("base", [{"weights": "x"}, {"name": NAME, "weights": "x", "digest": "x", "args": 1}, 5])
def test_a_base_that_is_no_base_is_told(base: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({}, path, metadata={weights.FACTS: json.dumps({"base": base})})
    with pytest.raises(UserError, match="does not say which base"):
        factory.read_tensors(path)


def test_a_base_out_of_the_environment_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path / "my secret place.safetensors")
    monkeypatch.setenv("MY_BASE", str(base))
    environment.remember("MY_BASE", str(base))
    try:
        model = train_head(tmp_path, str(base))
        path = tmp_path / weights.FINAL
        assert b"my secret place" not in path.read_bytes()
        assert same(factory.read_tensors(path)[0], model.state_dict())
    finally:
        environment.forget()


def test_a_head_that_was_not_trained_is_in_no_file(tmp_path: Path) -> None:
    """The run's head is a probe beside the network: whoever loads the network alone is told that it has none."""
    base = make_base(tmp_path / "base.safetensors")
    model = train_head(tmp_path, str(base), headless=True)
    path = tmp_path / weights.FINAL
    assert not set(HEAD) & set(factory.read_tensors(path)[0])
    with pytest.raises(RuntimeError, match=r"Missing key.*fc.weight"):
        timm.create_model(NAME, num_classes=3).load_state_dict(factory.read_tensors(path)[0])
    with pytest.raises(UserError, match="does not hold the whole of this network: it lacks"):
        weights.load(model, path)
    created, notes = factory.create(ModelConfig(NAME, str(path)), ("a", "b", "c"), pretrained=True)
    assert any("has no head" in note for note in notes)
    assert not torch.equal(created.fc.weight, model.fc.weight)
    phase = tmp_path / "phase.safetensors"  # what a phase passes on: it has no base, and is loaded when a run goes on
    weights.save(model, phase, headless=True)
    other = timm.create_model(NAME, num_classes=3)
    weights.load(other, phase)
    assert torch.equal(other.bn1.weight, model.bn1.weight)


def test_the_digest_of_a_runs_weights_is_of_the_network_alone(tmp_path: Path) -> None:
    """So that a run which starts from them stays the same run when the first is run again with newer packages."""
    base = make_base(tmp_path / "base.safetensors")
    model = train_head(tmp_path, str(base))
    path, facts = tmp_path / weights.FINAL, weights.read_facts(tmp_path / weights.FINAL)
    before, left_out = weights.digest_source(f"run:{tmp_path}"), set(model.state_dict()) - set(load_file(path))
    weights.save(model, path, left_out=left_out, facts=facts | {"versions": {"timm": "1.0"}})
    assert weights.digest_source(f"run:{tmp_path}") == before
    weights.save(model, path, left_out=left_out, facts=facts | {"base": facts["base"] | {"digest": "other"}})
    assert weights.digest_source(f"run:{tmp_path}") != before
    weights.save(model, path, left_out={*left_out, "fc.bias"}, facts=facts)
    assert weights.digest_source(f"run:{tmp_path}") != before
