"""Names that folders and W&B cannot have are told before training."""

from __future__ import annotations

import pytest

from conftest import compose
from headstart.config.names import find_name_problems

WANDB = {
    "tags": (["a" * 64], ["a" * 65, ""], "W&B takes tags of 1 to 64"),
    "project": ("p" * 128, "p" * 129, "W&B takes 1 to 128"),
}


@pytest.mark.parametrize("key", WANDB)
def test_lengths_are_those_of_wandb(key: str) -> None:
    config = compose("logger=wandb")
    good, bad, words = WANDB[key]
    setattr(config.logger, key, good)
    assert not list(find_name_problems(config))
    setattr(config.logger, key, bad)
    found = list(find_name_problems(config))
    assert found
    assert all(words in problem for problem in found)
    config.logger.wandb = False
    assert not list(find_name_problems(config)), "without W&B its limits do not matter"


def test_a_project_with_a_slash_is_split_into_entity_and_project() -> None:
    config = compose("logger=wandb")
    config.logger.project = "team/birds"
    (problem,) = find_name_problems(config)
    assert problem.endswith("takes no / in it; for the project of a team: logger.entity=team logger.project=birds")


@pytest.mark.parametrize("key", ["study", "strategy.name"])
def test_a_folder_that_no_disk_takes_is_refused(key: str) -> None:
    part, _, name = key.rpartition(".")
    config = compose()
    node = getattr(config, part) if part else config
    setattr(node, name, "é" * 100)
    assert not list(find_name_problems(config))
    setattr(node, name, "é" * 130)
    (problem,) = find_name_problems(config)
    assert "255" in problem
