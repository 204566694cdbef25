"""Every key has a meaning: those of the schema, and those that the group files set."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from omegaconf import OmegaConf

from conftest import compose
from headstart.config import keys
from headstart.config.docstrings import describe_target
from headstart.config.meanings import EXAMPLES, MEANINGS, PHASE, find_example, find_general, find_meaning
from headstart.config.resolvers import WANDB_SWEEP, config_folder
from headstart.config.schema import PhaseConfig

SCHEMA = {*keys.schema_keys(), PHASE, *keys.schema_keys(PhaseConfig, f"{PHASE}.")}
FREE = ("model.args.", "hydra.", f"{PHASE}.rates.", "measures.", "figures.")  # by name, and explained as a whole


def test_every_key_of_the_schema_has_a_meaning_and_no_other_has() -> None:
    assert {key for key in SCHEMA if not MEANINGS.get(key)} == set()
    strange = {key for key in MEANINGS if key not in SCHEMA and not key.startswith(("optimizer.", "scheduler."))}
    assert strange == set()


def test_every_key_of_the_group_files_has_a_meaning() -> None:
    lacking = []
    for path in sorted(config_folder().glob("*/*.yaml")):
        group, content = path.parent.name, OmegaConf.load(path)
        is_global = path.read_text("utf-8").startswith("# @package _global_")
        for key in keys.present_keys(content, "" if is_global else f"{group}."):
            general = find_general(key)
            if group in ("hydra", WANDB_SWEEP) or f"{general}.".startswith(FREE) or "defaults" in key.split("."):
                continue
            parent, _, name = (key if is_global else key.partition(".")[2]).rpartition(".")
            node: Any = OmegaConf.to_container(content, resolve=False)
            for part in filter(None, parent.split(".")):
                node = node[part]
            target = node.get("_target_", "")
            if find_meaning(key) is None and not describe_target(target)[1].get(name) and name != "_target_":
                lacking.append(f"{path.name}: {key}")
    assert lacking == []


@pytest.mark.parametrize("key", sorted(EXAMPLES))
def test_examples_compose(key: str) -> None:
    phase = "all" if key.startswith(PHASE) else ""
    if key in (f"{PHASE}.probe", f"{PHASE}.rates"):
        phase = "head"
    texts = shlex.split(find_example(key.replace(PHASE, f"strategy.phases.{phase}")) or "")
    first = ["strategy=finetune"] if phase == "all" and "start" not in key else []
    compose(*first, *(["data.flip=false"] if "augment" in key else []), *texts)


def test_arguments_of_a_target_are_read_without_importing_it() -> None:
    summary, arguments = describe_target("headstart.probe.Ridge")
    assert summary.startswith("Least squares on one-hot targets")
    assert arguments["grid"].startswith("penalties alpha")
    assert arguments["refit"].startswith("whether to fit once more")
    assert describe_target("torch.optim.Adam") == ("", {})
