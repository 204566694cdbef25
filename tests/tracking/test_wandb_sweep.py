"""Sweeps of W&B's own: what an agent says is read as overrides, and the files of conf/wandb_sweep are such sweeps."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import compose
from headstart.cli.help import annotate
from headstart.cli.help import main as explain
from headstart.config import resolvers
from headstart.config.schema import LoggerConfig
from headstart.errors import UserError
from headstart.runtime.signals import Stopped
from headstart.tracking.logger import RunLog
from headstart.tracking.metrics_file import SHARED
from headstart.tracking.wandb_sweep import describe_parameters, find_run_id, read_arguments
from wandb_server import Server, serve_this_process

FILES = sorted((resolvers.config_folder() / "wandb_sweep").glob("*.yaml"))
PARAMETERS = {"strategy": "partial", "patience": None, "optimizer.lr": 1e-05, "augment": "none"}


def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, Any]) -> list[str]:
    """Set what an agent sets, and return the arguments that it makes, by the agent's own code."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args
    from wandb.sdk.lib.config_util import save_config_file_from_dict

    nodes = {name: {"value": value} for name, value in given.items()}
    file = tmp_path / "wandb" / "sweep-s1" / "config-r1.yaml"
    save_config_file_from_dict(str(file), nodes)
    for name, value in {"SWEEP_ID": "s1", "RUN_ID": "r1", "SWEEP_PARAM_PATH": str(file)}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    return list(create_sweep_command_args({"args": nodes})["args_no_hyphens"])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ["null"]),
        (True, ["true"]),
        (1e-05, ["1e-05"]),
        ("none", ["none"]),
        ([0.7, None], ["[0.7,null]"]),
        ("[0.7,1]", ["[0.7,1]"]),
    ],
)
def test_a_value_is_written_as_hydra_reads_it(
    value: Any, written: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = start(monkeypatch, tmp_path, {"model.args.x": value})
    assert read_arguments(["study=a", *words]) == ["study=a", *(f"model.args.x={text}" for text in written)]


def test_nested_parameters_become_keys_and_a_plus_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = start(monkeypatch, tmp_path, {"optimizer": {"lr": 0.1, "weight_decay": None}, "seed": 1})
    assert words[0] == "optimizer={'lr': 0.1, 'weight_decay': None}"
    read = ["optimizer.lr=0.1", "optimizer.weight_decay=null", "seed=1"]
    assert read_arguments(words) == read
    assert read_arguments([f"++{word}" for word in words]) == [f"++{word}" for word in read]  # ${args_override_hydra}
    assert read_arguments([f"--{word}" for word in words]) == read  # ${args}


def test_a_run_that_comes_back_reads_its_parameters_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = read_arguments(start(monkeypatch, tmp_path, PARAMETERS))
    recorded = describe_parameters()
    whole = {"_wandb": {"cli_version": "0.31.0", "t": {"1": [1, 5]}}, "model": "tf_efficientnet_lite0", "epochs": 5}
    again = start(monkeypatch, tmp_path, whole | recorded | dict(reversed(PARAMETERS.items())))
    assert len(again) == 8
    assert read_arguments(["epochs=5", *again]) == ["epochs=5", *first]  # of the command, not of the run's config
    assert describe_parameters() == recorded  # of its file, which W&B's process reads too
    from wandb.sdk.lib.config_util import dict_from_config_file

    assert dict_from_config_file(os.environ["WANDB_SWEEP_PARAM_PATH"], must_exist=True) == PARAMETERS


def test_the_words_of_a_script_in_between_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start(monkeypatch, tmp_path, {"rate": None, "seed": 1})
    assert read_arguments(["optimizer.lr=0.1", "seed=1"]) == ["optimizer.lr=0.1", "seed=1"]


def test_without_an_agent_nothing_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = start(monkeypatch, tmp_path, {"patience": None})
    monkeypatch.delenv("WANDB_SWEEP_ID")
    assert read_arguments(words) == words
    assert find_run_id() is None
    assert describe_parameters() == {}


@pytest.mark.parametrize("word", ["-m", "--multirun", "--sweep=lines.yaml", "hydra.mode=MULTIRUN"])
def test_a_sweep_in_a_sweep_is_refused(word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = start(monkeypatch, tmp_path, {"seed": 1})
    with pytest.raises(UserError, match="one run at a time"):
        read_arguments([word, *words])


def list_values(node: dict[str, Any]) -> list[Any]:
    """The values of a parameter in a sweep's file: all of them, or the ends of a range."""
    if "values" in node:
        return list(node["values"])
    assert all(isinstance(node[end], int | float) for end in ("min", "max"))  # 1e-5 is text to YAML
    return [node["min"], node["max"]]


def test_there_is_a_file_for_each_method() -> None:
    assert {path.stem: yaml.safe_load(path.read_text("utf-8"))["method"] for path in FILES} == {
        name: name for name in ("bayes", "grid", "random")
    }


def test_the_documents_show_the_grid_as_it_is() -> None:
    (grid,) = [path for path in FILES if path.stem == "grid"]
    page = Path(__file__).resolve().parents[2] / "docs" / "wandb.md"
    assert grid.read_text("utf-8").partition("name:")[2] in page.read_text("utf-8")


def test_the_help_says_where_the_files_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(["--help", "wandb_sweep"]) == 0
    shown = capsys.readouterr().out
    assert all(str(path) in shown for path in FILES)
    assert "wandb_sweep" not in annotate("wandb_sweep: grid\nKeys (key=value), as composed\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_value_of_a_shipped_sweep_composes(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweep = yaml.safe_load(path.read_text("utf-8"))
    program, verb, *fixed, last = sweep["command"]
    assert (program, verb, last) == (sweep["program"], "train", "${args_no_hyphens}")
    assert f"study=wandb_{path.stem}" in fixed
    assert sweep["metric"] == {"name": SHARED["val_accuracy"], "goal": "maximize"}
    names = list(sweep["parameters"])
    for values in itertools.zip_longest(*map(list_values, sweep["parameters"].values()), fillvalue=...):
        given = {name: value for name, value in zip(names, values, strict=True) if value is not ...}
        config = compose(*read_arguments([*fixed, *start(monkeypatch, tmp_path, given)]))
        assert config.study == f"wandb_{path.stem}"
        assert config.patience == given.get("patience")
        assert config.optimizer["lr"] == given.get("optimizer.lr", 0.01 if given.get("optimizer") == "sgd" else 0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with serve_this_process(monkeypatch, tmp_path) as made:
        yield made


@pytest.mark.parametrize("clicked", [False, True])
def test_a_run_stopped_by_a_signal_is_given_to_the_next_agent(
    clicked: bool, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """But not one that somebody stopped in the browser, or the sweep's early termination."""
    start(monkeypatch, tmp_path, {"seed": 1})
    server.stopped |= {"r1"} if clicked else set()
    about: dict[str, Any] = {"run_id": "own", "name": "run", "study": "demo", "job_type": "finetune", "config": {}}
    with suppress(Stopped), RunLog(tmp_path, LoggerConfig(wandb=True, project="p"), **about) as run_log:
        run_log.log_epoch("all", 1, 1, val_accuracy=0.5)
        while not server.runs["r1"].events and not server.history:  # the answer to what is sent says who was stopped
            time.sleep(0.05)
        raise Stopped(15)
    assert server.runs["r1"].ended == [255]
    assert server.runs["r1"].preempting is not clicked
    assert server.runs["r1"].config["sweep_parameters"] == "seed"
