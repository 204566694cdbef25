"""The cluster of Ray that runs the jobs of a sweep: one of this machine alone, or one that runs already."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headstart.cli.ray_worker import Setup, Worker
from headstart.config.schema import RunConfig
from headstart.config.words import count
from headstart.errors import RunFailed, UserError
from headstart.preflight.launcher import KEY, Ray
from headstart.runtime.hardware import usable_cores

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for an answer of a cluster
STARTS = 3  # workers in a row that may die before they are ready
STORE = 80 * 2**20  # bytes of shared memory, nearly the least that Ray takes: what jobs share lies in files
# Ray for this machine alone: it listens to this machine only, and has a password of its own (`RAY_AUTH_TOKEN`)
LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}


@contextmanager
def connect(address: str | None) -> Iterator[Any]:
    """Yield the module `ray`, connected to a running cluster, or, with None, to one that ends with this context.

    Raises:
        UserError: no cluster has this address.
    """
    if address is not None:
        _look_for(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else a cluster sends statistics of its use to Ray's makers
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryDirectory(prefix="headstart-ray-", ignore_cleanup_errors=True) as session:
        options: dict[str, Any] = {"address": address}
        if address is None:
            os.environ |= LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
            options = {"address": "local", "num_cpus": usable_cores(), "include_dashboard": False}
            options |= {"object_store_memory": STORE, "_temp_dir": session}
        import ray  # after the variables, which it reads here

        from headstart.cli.ray_internals import silence

        silence(local=address is None)
        try:
            ray.init(log_to_driver=False, configure_logging=False, **options)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            reason = str(error).strip().partition("\n")[0]
            if address is None:
                raise RunFailed(f"hydra/launcher=ray: Ray does not start on this machine: {reason}") from error
            raise UserError(f"{KEY}.address={address}: cannot join a cluster of Ray there: {reason}") from error
        try:
            for each, handler in handlers.items():  # Ray puts its own in their place
                signal.signal(each, handler)
            yield ray
        finally:
            ray.shutdown()


def _look_for(address: str) -> None:
    """Raise UserError if nobody listens at HOST:PORT; Ray itself tries for more than ten minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host:
        return  # `auto`
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE):
            return
    except (OSError, ValueError) as error:
        raise UserError(f"{KEY}.address={address}: no cluster of Ray answers there: {error}") from error


@dataclass(frozen=True)
class Share:
    """What each job takes of a machine."""

    cpus: float
    gpus: float

    def count_places(self, nodes: Sequence[dict[str, Any]]) -> int:
        """How many jobs have room in a cluster at the same time."""
        return sum(self._count_in(node["Resources"]) for node in nodes if node["Alive"])

    def _count_in(self, has: dict[str, float]) -> int:
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        return min(int(has.get(what, 0) / share + 1e-9) for what, share in wanted.items() if share)


def choose_share(settings: Ray, nodes: Sequence[dict[str, Any]], configs: Sequence[RunConfig]) -> Share:
    """What each job takes, GPUs where the cluster has some and a job may use them.

    Raises:
        UserError: the cluster of this machine has no room for one job.
    """
    most = {what: max((node["Resources"].get(what, 0) for node in nodes), default=0) for what in ("CPU", "GPU")}
    gpus = settings.num_gpus
    if gpus is None:
        hardware = [config.hardware for config in configs if config.hardware.accelerator != "cpu"]
        asked = [most["GPU"] if each.devices == -1 else max(1, each.devices) for each in hardware]
        gpus = max(asked, default=0) if most["GPU"] else 0
    share = Share(settings.num_cpus, gpus)
    if not share.count_places(nodes):
        wanted = f"{KEY}.num_cpus={share.cpus:g} and num_gpus={share.gpus:g}"
        largest = f"{count(int(most['CPU']), 'core')} and {count(int(most['GPU']), 'GPU')}"
        if settings.address is None:
            raise UserError(f"{wanted}: this machine has {largest}")
        log.warning("%s: no machine of the cluster has so much now (at most %s): waiting for one", wanted, largest)
    return share


@dataclass(frozen=True)
class Place:
    """A worker, and its process and machine in words."""

    actor: Any
    name: str


class Workers:
    """The workers of a sweep: those that start, and those that wait for a job.

    Args:
        ray: the module, connected to a cluster.
        setup: what makes them like the process of the command.
    """

    def __init__(self, ray: Any, share: Share, setup: Setup) -> None:
        self.ray, self.share = ray, share
        self._setup = ray.put(setup)
        # an actor keeps its GPU; a process that runs Ray's tasks may get another one later, which torch would not use
        self._make = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0)(Worker)
        self.starting: dict[Any, Any] = {}  # by the reference to what `Worker.prepare` returns
        self.idle: list[Place] = []
        self._died = 0  # in a row, before they were ready

    def start(self, jobs: int, at_work: int) -> None:
        """Start as many as have room in the cluster, if there are so many jobs; machines may join it at any time."""
        places = max(1, self.share.count_places(self.ray.nodes()))
        for _ in range(min(jobs, places) - at_work - len(self.starting) - len(self.idle)):
            actor = self._make.remote()
            self.starting[actor.prepare.remote(self._setup)] = actor

    def admit(self, reference: Any) -> None:
        """Take in a worker that is ready.

        Raises:
            UserError: its machine is not fit for the jobs.
            RunFailed: it died, as those before it.
        """
        actor = self.starting.pop(reference)
        try:
            self.idle.append(Place(actor, self.ray.get(reference)))
            self._died = 0
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self.ray.exceptions.RayError as error:
            self._died += 1
            if self._died == STARTS:
                reason = str(error).strip().rpartition("\n")[2]
                raise RunFailed(f"hydra/launcher=ray: no worker starts: {reason}") from error
