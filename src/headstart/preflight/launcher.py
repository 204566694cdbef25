"""The launcher that hands the jobs of a sweep to Ray (`hydra/launcher=ray`): its settings, and what is wrong there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

TARGET = "headstart.preflight.launcher.Ray"
KEY = "hydra.launcher"


@dataclass(frozen=True)
class Ray:
    """How jobs are handed to Ray.

    Args:
        address: of a running cluster; None: Ray is started on this machine, and ends with the sweep.
        num_cpus: cores of each job.
        num_gpus: GPUs of each job, fractions too; None: as many as `hardware.devices`, where the cluster has GPUs.
        max_retries: how often a job whose worker died is tried again.
    """

    address: str | None = None
    num_cpus: float = 1
    num_gpus: float | None = None
    max_retries: int = 3


def is_ray(composed: DictConfig) -> bool:
    """Whether a composed config, with Hydra's part, chooses this launcher."""
    return OmegaConf.select(composed, f"{KEY}._target_") == TARGET


def read_settings(composed: DictConfig) -> Ray:
    """The settings in a composed config, which `find_problems` has checked."""
    return Ray(**_read_values(composed))


def _read_values(composed: DictConfig) -> dict[str, Any]:
    node = OmegaConf.to_container(composed.hydra.launcher, resolve=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items() if key != "_target_"}


def find_problems(composed: DictConfig, *, runs_all: bool) -> Iterator[str]:
    """Yield what is wrong with the settings, and with this machine or sweeper.

    Args:
        runs_all: whether the sweep runs every combination; False refuses a sweeper that chooses its own jobs.
    """
    if find_spec("ray") is None:
        yield "hydra/launcher=ray: Ray is not installed: pip install 'headstart[ray]'"
    if not runs_all:
        yield "hydra/launcher=ray: runs a list of jobs, and hydra/sweeper chooses its own: leave one of them out"
    for name, value in _read_values(composed).items():
        if wish := _describe_wish(name, value):
            yield f"{KEY}.{name}={value}: must be {wish}"


def _describe_wish(name: str, value: Any) -> str:
    """What a setting must be, if it is something else."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if name == "num_cpus" and not (number and value > 0):
        return "a number above 0, such as 1"
    if name == "num_gpus" and value is not None and not (number and value >= 0 and (value <= 1 or value == int(value))):
        return "a share of one GPU, such as 0.5, or a whole number, or null"
    if name == "max_retries" and not (isinstance(value, int) and number and value >= 0):
        return "a whole number, at least 0"
    if name == "address" and not (value is None or (isinstance(value, str) and value)):
        return "the address of a running cluster, such as auto or 10.0.0.1:6379, or null"
    return ""
