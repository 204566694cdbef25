"""The launcher that hands the jobs of a sweep to Slurm (`hydra/launcher=slurm`): its settings, and what is wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from headstart.config.schema import HardwareConfig
from headstart.errors import did_you_mean

TARGET = "headstart.preflight.slurm.Slurm"
KEY = "hydra.launcher"
ME = "hydra/launcher=slurm"
# as `man sbatch` has it: minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes[:seconds]
TIME = re.compile(r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}")
GPUS = re.compile(r"([A-Za-z][\w.-]*:)?[1-9]\d*|0")
OPTION = re.compile(r"--([a-z][a-z0-9-]*)(?:[= ]([^\n]+))?")
MEMORY = re.compile(r"\d+[KMGT]?")
# options of sbatch that follow from other settings, and where these are
SET_ELSEWHERE = {
    **{name: f"{KEY}.{name}" for name in ("partition", "account", "qos", "time", "mem")},
    **{"cpus-per-task": f"{KEY}.cpus", "gpus-per-node": f"{KEY}.gpus", "gpus": f"{KEY}.gpus", "gres": f"{KEY}.gpus"},
    **{"nodes": "hardware.nodes", "ntasks": "hardware.devices", "ntasks-per-node": "hardware.devices"},
    **{"signal": f"{KEY}.warn", "array": f"{KEY}.at_once", "job-name": "study", "requeue": f"{KEY}.max_requeues"},
    **dict.fromkeys(("output", "error", "open-mode", "chdir", "export"), "headstart itself"),
}


@dataclass(frozen=True)
class Slurm:
    """How jobs are handed to Slurm; what is None is left to Slurm.

    Args:
        partition: in which the jobs run.
        account: to which their time is charged.
        qos: their quality of service.
        time: that one job may take, as sbatch reads it: minutes, or hours:minutes:seconds.
        cpus: cores of each machine of a job.
        gpus: of each machine of a job, with their type or without; None: as many as `hardware.devices`, if
            `hardware.accelerator` is gpu.
        mem: memory of each machine of a job, as sbatch reads it: 16G.
        at_once: how many jobs run at the same time; None: no limit.
        setup: lines of shell that run before a job's Python.
        python: the words that start Python, such as those of a container; None: the Python of the command.
        sbatch: further options of sbatch, as it takes them: `--constraint a100`.
        warn: seconds before its time is up at which a job is asked to stop.
        max_requeues: how often a job that was asked to stop goes on.
        detach: submit the jobs, and do not wait for them.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | int | None = None
    cpus: int = 1
    gpus: str | int | None = None
    mem: str | int | None = None
    at_once: int | None = None
    setup: list[str] = field(default_factory=list)
    python: str | None = None
    sbatch: list[str] = field(default_factory=list)
    warn: int = 120
    max_requeues: int = 50
    detach: bool = False

    @property
    def options(self) -> dict[str, str | bool]:
        """The further options of sbatch, by their names without dashes in front; True: it takes no value."""
        found = (OPTION.fullmatch(text) for text in self.sbatch)
        return {each[1]: True if each[2] is None else each[2] for each in found if each}

    def count_gpus(self, hardware: HardwareConfig) -> str | int:
        """What a job with this hardware asks for on each machine, 0 for none."""
        if self.gpus is not None:
            return self.gpus
        return hardware.devices if hardware.accelerator == "gpu" else 0


def is_slurm(composed: DictConfig) -> bool:
    """Whether a composed config, with Hydra's part, chooses this launcher."""
    return OmegaConf.select(composed, f"{KEY}._target_") == TARGET


def read_settings(composed: DictConfig) -> Slurm:
    """The settings in a composed config, which `find_problems` has checked."""
    return Slurm(**_read_values(composed))


def _read_values(composed: DictConfig) -> dict[str, Any]:
    node = OmegaConf.to_container(composed.hydra.launcher, resolve=True)
    assert isinstance(node, dict)
    return {str(key): value for key, value in node.items() if key != "_target_"}


def find_missing() -> Iterator[str]:
    """Yield what this machine lacks to submit jobs."""
    if find_spec("submitit") is None:
        yield f"{ME}: submitit is not installed: pip install 'headstart[slurm]'"
    elif missing := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        yield f"{ME}: this machine has no {', no '.join(missing)}: start the command where jobs are submitted to Slurm"


def find_problems(composed: DictConfig, *, multirun: bool, runs_all: bool) -> Iterator[str]:
    """Yield what is wrong with the settings.

    Args:
        runs_all: whether the sweep runs every combination; False refuses a sweeper that chooses its own jobs.
    """
    if not multirun:
        yield f"{ME}: takes the jobs of a sweep, be it only one: add -m"
    if not runs_all:
        yield f"{ME}: runs a list of jobs, and hydra/sweeper chooses its own: leave one of them out"
    names = [each.name for each in fields(Slurm)]
    for name, value in _read_values(composed).items():
        if name not in names:
            yield f"{KEY}.{name}: no such setting{did_you_mean(name, names)}; {KEY}.sbatch takes options of sbatch"
        elif wish := _describe_wish(name, value):
            yield f"{KEY}.{name}={value}: must be {wish}"
        elif name == "sbatch":
            taken = [option for option in Slurm(sbatch=value).options if option in SET_ELSEWHERE]
            yield from (f"{KEY}.sbatch: --{option} is set by {SET_ELSEWHERE[option]}" for option in taken)


def find_job_problems(settings: Slurm | None, hardware: Sequence[HardwareConfig]) -> Iterator[str]:
    """Yield what is wrong with the machines that jobs ask for.

    Args:
        settings: None: the jobs do not run on Slurm.
    """
    nodes = max((each.nodes for each in hardware), default=1)
    if settings is None and nodes > 1:
        yield f"hardware.nodes={nodes}: several machines run jobs of Slurm only: add -m {ME}"
    if settings is not None and settings.gpus is None and any(each.devices == -1 for each in hardware):
        yield f"hardware.devices=-1: {ME} has to know how many to ask for: name them, or set {KEY}.gpus"


def _describe_wish(name: str, value: Any) -> str:
    """What a setting must be, if it is something else."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    text = str(value) if whole or isinstance(value, str) else ""
    if name in ("cpus", "warn") and not (whole and value >= 1):
        return "a whole number, at least 1"
    if name == "max_requeues" and not (whole and value >= 0):
        return "a whole number, at least 0"
    if name == "at_once" and not (value is None or (whole and value >= 1)):
        return "a whole number, at least 1, or null"
    if name == "detach" and not isinstance(value, bool):
        return "true or false"
    if name == "setup" and not (isinstance(value, list) and all(isinstance(line, str) for line in value)):
        return "a list of lines of shell, such as [module load cuda]"
    if name == "sbatch" and not (isinstance(value, list) and all(OPTION.fullmatch(str(each)) for each in value)):
        return "a list of options of sbatch in their long form, such as [--constraint a100, --exclusive]"
    if value is None:
        return ""
    if name in ("partition", "account", "qos", "python") and not (text.strip() and "\n" not in text):
        return "a name, or null" if name != "python" else "the words that start Python, or null"
    if name == "time" and not TIME.fullmatch(text):
        return 'a time such as "04:00:00", "2-00:00:00" or minutes, or null'
    if name == "gpus" and not GPUS.fullmatch(text):
        return "a whole number, or a type and a number such as a100:2, or null"
    if name == "mem" and not MEMORY.fullmatch(text):
        return "an amount of memory such as 16G, or null"
    return ""
