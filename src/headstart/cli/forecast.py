"""What is known of a sweep's jobs before they run: which are complete, and how long the others will take."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median_low
from typing import Any

import yaml

from headstart.config.schema import FIND, RunConfig, to_plain
from headstart.data.parts import read_parts
from headstart.errors import RunFailed, UserError
from headstart.models import factory, preprocessing
from headstart.runtime import hardware
from headstart.search.trials import LOADER, TUNED, is_same_run
from headstart.storage.identity import make_name
from headstart.storage.journal import PRUNED
from headstart.storage.records import Result, read_result, read_state
from headstart.strategy.plan import plan_phases
from headstart.tuning import forecast
from headstart.tuning.forecast import Forecast

BUDGET = 30.0  # seconds for trials of a sweep's networks
# What changes how long a run takes, as a rule; seeds, rates and penalties do not.
COSTLY = ("model", "strategy", "data", "augment", "patience")
FREE_OF_COST = ("split_seed", "fold")


@dataclass
class Expected:
    """What is expected of one job: whether it is complete, and its seconds, None if nothing is known of them."""

    config: RunConfig
    kind: str  # jobs of one kind take equally long
    name: str = ""  # of its folder, but for the digests of data and weights: equal for jobs that are the same run
    complete: bool = False
    features: float = 0.0  # seconds for features that an earlier job of the same network and data has cached then
    rest: float | None = None


@dataclass
class Times:
    """The seconds that runs of each kind took, and what trials say of the kinds without one."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    usual: dict[str, float] = field(default_factory=dict)  # their medians

    def add(self, kind: str, seconds: float) -> None:
        self.taken.setdefault(kind, []).append(seconds)
        # the lower one of two: the first job of a process pays for imports, and for features that the others share
        self.usual[kind] = median_low(self.taken[kind])

    def expect(self, job: Expected) -> float | None:
        """The seconds of a job: the median of runs of its kind, else what its trial says."""
        if job.complete:
            return 0.0
        if job.kind in self.usual:
            return self.usual[job.kind]
        return None if job.rest is None else job.features + job.rest


def name_kind(plain: Mapping[str, Any]) -> str:
    """What a run's time depends on, as a text that is equal for runs that take equally long.

    Args:
        plain: the resolved config of a run.
    """
    kept = {name: plain.get(name) for name in COSTLY}
    kept["data"] = {
        key: value for key, value in plain["data"].items() if key not in (*FREE_OF_COST, "resize", "storage")
    }
    kept["hardware"] = {
        name: plain["hardware"].get(name) for name in ("accelerator", "devices", "precision", "threads")
    }
    return json.dumps(kept, sort_keys=True, default=str)


def expect_jobs(configs: Sequence[RunConfig], times: Times) -> list[Expected]:
    """Look for the runs of the jobs in their study's folder, and for what like runs there took.

    A job counts as complete if a run with its config is, or was pruned, on the data and weights that it had then; the
    job itself looks whether these are still the same.
    """
    found: dict[Path, dict[str, list[tuple[Result, dict[str, Any]]]]] = {}  # by study and readable part of the name
    pruned: dict[Path, list[dict[str, Any]]] = {}
    jobs: list[Expected] = []
    for config in configs:
        with suppress(UserError, RunFailed):  # weights of an earlier job of this sweep, which are not there yet
            config = replace(config, model=preprocessing.adopt(config.model))
        with suppress(UserError):  # hardware that only the machines have that will run the job
            config = replace(config, hardware=hardware.resolve_hardware(config.hardware))
        study = Path(config.output_dir) / config.study
        if study not in found:
            found[study], pruned[study] = {}, list(_read_pruned(study))
            for result, kept in _read_runs(study):
                found[study].setdefault(_cut_name(result.folder.name), []).append((result, kept))
                with suppress(KeyError, TypeError):
                    times.add(name_kind(kept), float(result["seconds"]["total"]))
        plain = to_plain(config)
        job = Expected(config, name_kind(plain), make_name(plain, {}))
        like = found[study].get(_cut_name(job.name), [])
        job.complete = not config.rerun and any(_is_run_of(config, *each) for each in like)
        if config.prune != "none" and not (job.complete or config.rerun):
            job.complete = any(is_same_run(config, kept) for kept in pruned[study])
        jobs.append(job)
    return jobs


def try_networks(jobs: Sequence[Expected], times: Times) -> int:
    """Try a few steps for the kinds of jobs of which no run is known; returns how many networks were tried.

    No further network is tried after BUDGET seconds. A job that cannot be tried, such as one whose data cannot be read,
    says so itself when it begins.
    """
    began, networks, sizes, features = time.monotonic(), Networks(), {}, set()
    for job in jobs:
        if job.complete or job.kind in times.taken:
            continue
        if time.monotonic() - began > BUDGET:
            break
        with suppress(UserError, RunFailed, OSError, RuntimeError):
            data = json.dumps(vars(job.config.data), sort_keys=True, default=str)
            if data not in sizes:
                classes, parts = read_parts(job.config.data, job.config.cache)
                sizes[data] = len(classes), {name: len(part) for name, part in parts.items()}
            estimate = networks.forecast(job.config, *sizes[data])
            if estimate is not None:
                shared = json.dumps([vars(job.config.model), job.config.data.name], default=str)
                job.features, job.rest = 0.0 if shared in features else estimate.features, estimate.rest
                if job.config.cache is not None:
                    features.add(shared)
    return len(networks.steps)


class Networks:
    """The trials of a sweep's networks, each made once."""

    def __init__(self) -> None:
        self.steps: dict[str, float | None] = {}

    def forecast(self, config: RunConfig, classes: int, sizes: Mapping[str, int]) -> Forecast | None:
        """Estimate the time of a run; None if its network cannot be tried."""
        side = config.data.image_size or preprocessing.expected_input(config.model).image_size
        facts = [vars(config.model), vars(config.hardware), side, classes, config.data.batch_size]
        key = json.dumps(facts, sort_keys=True, default=str)
        if key not in self.steps:
            self.steps[key] = forecast.time_step(config, side, classes)
        step = self.steps[key]
        phases = plan_phases(factory.build_outline(config.model), config.strategy.phases)
        return None if step is None else forecast.forecast(config, phases, sizes, step)


def _cut_name(folder: str) -> str:
    """The readable part of a run's name, without its identity."""
    return folder.rpartition("-")[0]


def _read_runs(study: Path) -> Iterator[tuple[Result, dict[str, Any]]]:
    """The completed runs of a study with their configs; what cannot be read is left out."""
    for path in sorted(study.glob("*/result.json")):
        with suppress(OSError, ValueError, yaml.YAMLError, UserError):
            result = read_result(path.parent)
            kept = yaml.load((path.parent / "config.yaml").read_text("utf-8"), Loader=LOADER)
            if result is not None and isinstance(kept, dict):
                yield result, kept


def _read_pruned(study: Path) -> Iterator[dict[str, Any]]:
    """The configs of the runs of a study that were pruned."""
    for path in sorted(study.glob("*/state.json")):
        with suppress(OSError, ValueError, yaml.YAMLError, UserError):
            if read_state(path.parent).get("status") == PRUNED:
                yield yaml.load((path.parent / "config.yaml").read_text("utf-8"), Loader=LOADER)


def _is_run_of(config: RunConfig, result: Result, kept: Mapping[str, Any]) -> bool:
    """Whether a completed run is that of a config, judging by its identity.

    Args:
        kept: the run's own config, for what only a run finds out: the settings that hardware.tune chose, the learning
            rate that was found, and how images become squares.
    """
    plain, digests = to_plain(config), result.get("digests")
    try:
        if config.hardware.tune:
            plain["hardware"] |= {name: kept["hardware"][name] for name in TUNED}
        if config.learning_rate == FIND:
            plain["optimizer"]["lr"] = kept["optimizer"]["lr"]
        if config.data.resize == "auto":
            plain["data"]["resize"] = kept["data"]["resize"]
        return isinstance(digests, dict) and make_name(plain, digests) == result.folder.name
    except (KeyError, TypeError):
        return False
