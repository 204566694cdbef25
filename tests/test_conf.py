"""Every file under conf/ composes, explains itself, and every target binds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

from conftest import check_components, compose
from headstart.config import resolvers
from headstart.config.schema import RunConfig

CONF = resolvers.config_folder()
# A new file raises the count: that is the sign that this test has seen it.
COUNTS = {
    "augment": 3,
    "data": 33,
    "debug": 2,
    "experiment": 20,
    "head": 4,
    "hardware": 5,
    "hparams_search": 8,
    "logger": 6,
    "model": 67,
    "optimizer": 3,
    "scheduler": 4,
    "size": 2,
    "strategy": 16,
}
FILES = sorted(path for path in CONF.rglob("*.yaml") if path.parent.name in COUNTS)
SIZES = sorted(CONF.glob("experiment/*/*.yaml"))  # each study's two forms
GIVEN = {  # what a file leaves to the user
    "data/image_folder": ["data.source.root=photos"],
    "data/csv": ["data.source.path=labels.csv"],
    "data/hf_datasets": ["data.source.path=photos"],
    "data/torchvision": ["data.source.name=CIFAR10"],
    "model/timm": ["model.name=resnet18"],
} | {
    f"model/{path.stem}": ["strategy=scratch"]
    for path in FILES
    if path.parent.name == "model" and (yaml.safe_load(path.read_text("utf-8")) or {}).get("weights") == "none"
}


def key(path: Path) -> str:
    return path.relative_to(CONF).with_suffix("").as_posix()


def test_all_files_are_visited() -> None:
    found: dict[str, int] = {}
    for path in FILES:
        found[path.parent.name] = found.get(path.parent.name, 0) + 1
    assert found == COUNTS
    others = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_file()} - {
        path.relative_to(CONF).as_posix() for path in [*FILES, *SIZES]
    }
    studies = {path.stem for path in FILES if path.parent.name == "experiment"} - {"demo"}
    assert {path.relative_to(CONF / "experiment").as_posix() for path in SIZES} == {
        f"{study}/{size}.yaml" for study in studies for size in ("full", "small")
    }
    assert others == {
        "config.yaml",
        "hydra/job_logging/headstart.yaml",
        "hydra/help/headstart.yaml",
        "hydra/sweeper/optuna.yaml",
        "hydra/sweeper/headstart.yaml",
        "hydra/sweeper/search.yaml",
        "hydra/launcher/ray.yaml",
        "hydra/launcher/slurm.yaml",
        *(f"wandb_sweep/{method}.yaml" for method in ("grid", "random", "bayes")),  # `tracking/test_wandb_sweep.py`
    }


@pytest.fixture(autouse=True)
def _every_tracker_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackio is no part of `dev`: it needs an older pillow."""
    monkeypatch.setattr("headstart.config.names.TRACKERS", ())


@cache
def composed(path: Path) -> RunConfig:
    """The config with one file chosen; no test changes it."""
    group, name = key(path).split("/")
    return compose(f"{group}={name}", *GIVEN.get(key(path), []))


@pytest.mark.parametrize("path", FILES, ids=key)
def test_every_file_composes_validates_and_binds(path: Path) -> None:
    group, name = key(path).split("/")
    config = composed(path)
    check_components(config)
    if group in ("model", "data", "strategy"):
        assert getattr(config, group).name
    if group == "strategy":
        assert config.strategy.name == name
    if group == "experiment":
        assert config.study in (name, "runs"), "a study carries its experiment's name, if any"


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "model"], ids=key)
def test_every_model_is_known_to_timm(path: Path) -> None:
    from headstart.models import preprocessing

    config = composed(path)
    assert preprocessing.expected_input(config.model).image_size >= (192 if config.model.weights != "none" else 32)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "experiment"], ids=key)
def test_experiments_open_with_question_command_result_and_time(path: Path) -> None:
    text = path.read_text("utf-8")
    for word in ("# Question:", f"experiment={path.stem}", "# Expected:", "# Time:"):
        assert word in text


@pytest.mark.parametrize("path", FILES, ids=key)
def test_every_file_explains_itself(path: Path) -> None:
    if path.stem not in ("cpu", "adam"):
        assert path.read_text("utf-8").startswith("#")
    assert isinstance(yaml.safe_load(path.read_text("utf-8")) or {}, dict)
