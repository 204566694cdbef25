"""A run of several processes: torchrun starts the ranks from the resolved config, one launch a job.

Three processes know each other: the Hydra process holds the run's lock and waits; an agent of its own session
(`python -m headstart.distributed.torchrun FOLDER`) is torchrun's; the ranks (`headstart.worker`) do the work. No rank
parses overrides, nothing is left in the environment for the next job, and whoever loses its parent ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.config.schema import HardwareConfig
from headstart.errors import RunFailed, UserError
from headstart.runtime import signals
from headstart.storage.runs import Run, write_json

GRACE = 5  # seconds that the other ranks get to end once one has failed
PATIENCE_AT_END = 30  # seconds that the others wait for rank 0 to close its files when the run is stopped
SPEC, STOP, DEATHS = "run.json", "stop", "deaths.json"


def start(
    config: Mapping[str, Any],
    hardware: HardwareConfig,
    run: Run,
    digests: Mapping[str, str | None],
    done: list[dict[str, Any]],
) -> None:
    """Run a locked and begun run on `hardware.devices` processes; returns when it is complete.

    Args:
        config: of the run, as plain containers.
        done: the records of the phases that an earlier attempt finished.

    Raises:
        UserError, RunFailed: what the first rank to fail said, or of what it died.
        Stopped: somebody asked for it; the ranks have written a checkpoint.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        place = Path(name)
        spec = {
            "config": config,
            "run": asdict(run) | {"folder": str(run.folder.resolve())},
            "digests": dict(digests),
            "done": done,
        }
        write_json(place / SPEC, spec)
        threads = hardware.threads or max(1, (os.cpu_count() or 1) // hardware.devices)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(GRACE)}
        locks = () if run.lock is None else (run.lock,)  # held until the agent has ended too
        command = (sys.executable, "-m", "headstart.distributed.torchrun", str(place))
        with subprocess.Popen(command, env=environment, start_new_session=True, pass_fds=locks) as agent:
            try:
                _wait(agent, place)
            finally:
                if agent.poll() is None:
                    agent.terminate()
        if agent.returncode:
            raise _cause(place, agent.returncode)


def _wait(agent: subprocess.Popen[bytes], place: Path) -> None:
    """Until the agent ends; a request to stop is handed on to the ranks, which stop at their next step."""
    with signals.defer_signals():
        while agent.poll() is None:
            signum = signals.requested_stop()
            if signum is not None and not (place / STOP).exists():
                (place / STOP).write_text(str(signum))
            with suppress(subprocess.TimeoutExpired):
                agent.wait(0.1)


def _cause(place: Path, code: int) -> BaseException:
    """Why the run ended: a rank that was killed explains the others' errors, else the first error counts."""
    deaths = json.loads((place / DEATHS).read_text()) if (place / DEATHS).exists() else {}
    said = sorted((json.loads(path.read_text()) for path in place.glob("rank-*.json")), key=lambda fact: fact["when"])
    for rank, (exit_code, when) in deaths.items():  # once one has failed and the grace is over, all are ended
        ended_by_agent = any(
            fact["kind"] != "Stopped" and fact["when"] < when - GRACE + 1 for fact in said
        )  # it had failed, and the grace was over
        if exit_code < 0 and exit_code != -signal.SIGTERM and not ended_by_agent:
            name = signal.Signals(-exit_code).name
            hint = "; the system kills a process when memory runs out" if exit_code == -signal.SIGKILL else ""
            return RunFailed(f"process {rank} of {_world(place)} died of {name}{hint}; the others were ended")
    if not said:
        return RunFailed(f"the launcher of the processes ended with code {code} and said nothing")
    first = said[0]
    if first["kind"] == "Stopped":
        return signals.Stopped(first["signum"])
    text = first["message"]
    if first["kind"] == "UserError":
        return UserError(text)
    return RunFailed(f"process {first['rank']} of {_world(place)}: {text}")


def _world(place: Path) -> int:
    return int(json.loads((place / SPEC).read_text())["config"]["hardware"]["devices"])


def agent(place: Path) -> int:
    """torchrun's agent: start the ranks, watch them, end them all when one fails; returns an exit code."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what matters is told by the ranks
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=_world(place),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(place / "logs")),
    )
    try:
        elastic_launch(settings, sys.executable)("-m", "headstart.worker", str(place))
    except ChildFailedError as error:
        write_json(place / DEATHS, {rank: (fact.exitcode, fact.timestamp) for rank, fact in error.failures.items()})
        return 1
    except SignalException:  # the launching process ends us, and knows why
        return 1
    return 0


if __name__ == "__main__":
    signals.end_with_parent(signal.SIGTERM)
    sys.exit(agent(Path(sys.argv[1])))
