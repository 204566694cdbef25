"""A run of several processes: torchrun starts the ranks from the resolved config, one launch for each job.

There are three kinds of processes. The main process holds the run's lock and waits. An agent in its own session
(`python -m headstart.distributed.torchrun FOLDER`) runs torchrun. The ranks (`headstart.worker`) do the work. They
exchange files in a temporary folder. No rank parses overrides, nothing stays in the environment for the next job, and
a process whose parent dies ends too.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headstart.config.environment import hide
from headstart.config.schema import HardwareConfig
from headstart.errors import Pruned, RunFailed, UserError
from headstart.runtime import signals
from headstart.storage.files import write_json
from headstart.storage.runs import Run

GRACE = 5  # seconds for the other ranks to end after one has failed
PATIENCE_AT_END = 30  # seconds that the others wait for rank 0 to close its files when the run is stopped
SPEC, STOP, DEATHS, SHOWN = "run.json", "stop", "deaths.json", "shown.json"


@dataclass(frozen=True)
class Spec:
    """What the ranks are told.

    Attributes:
        config: of the run, as plain containers.
        run: locked and begun.
        done: the records of the phases that an earlier attempt finished.
        progress: `headstart.tracking.progress.export`, for the console of rank 0.
    """

    config: Mapping[str, Any]
    run: Run
    digests: Mapping[str, str | None]
    done: list[dict[str, Any]]
    progress: Mapping[str, Any]

    def make_plain(self) -> dict[str, Any]:
        return {
            "config": hide(self.config),  # the ranks have the same environment
            "run": asdict(self.run) | {"folder": str(self.run.folder.resolve())},
            "digests": dict(self.digests),
            "done": self.done,
            "progress": dict(self.progress),
            "path": sys.path,  # where code of one's own is found, which may be beside a script that called headstart
        }


def start(spec: Spec, hardware: HardwareConfig) -> list[str]:
    """Run a run on `hardware.devices` processes; returns, when it is complete, the facts that rank 0 has shown.

    Raises:
        UserError, RunFailed: the error of the first rank that failed, or the signal that killed it.
        Stopped: a stop was requested; the ranks have written a checkpoint.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-") as name:
        exchange = Path(name)
        write_json(exchange / SPEC, spec.make_plain())
        threads = hardware.threads or max(1, (os.cpu_count() or 1) // hardware.devices)
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(GRACE)}
        locks = () if spec.run.lock is None else (spec.run.lock,)  # held until the agent has ended too
        command = (sys.executable, "-m", "headstart.distributed.torchrun", str(exchange))
        with subprocess.Popen(command, env=environment, start_new_session=True, pass_fds=locks) as agent:
            try:
                _wait(agent, exchange)
            finally:
                if agent.poll() is None:
                    agent.terminate()
        if agent.returncode:
            raise _find_cause(exchange, agent.returncode)
        shown: list[str] = json.loads((exchange / SHOWN).read_text("utf-8"))
        return shown


def _wait(agent: subprocess.Popen[bytes], exchange: Path) -> None:
    """Wait until the agent ends; pass a request to stop on to the ranks, which stop at their next step."""
    with signals.defer_signals():
        while agent.poll() is None:
            signum = signals.requested_stop()
            if signum is not None and not (exchange / STOP).exists():
                (exchange / STOP).write_text(str(signum))
            with suppress(subprocess.TimeoutExpired):
                agent.wait(0.1)


def _find_cause(exchange: Path, code: int) -> BaseException:
    """Find why the run ended: if a rank was killed, that caused the others' errors; else it was the first error."""
    deaths = json.loads((exchange / DEATHS).read_text()) if (exchange / DEATHS).exists() else {}
    reports = [json.loads(path.read_text()) for path in exchange.glob("rank-*.json")]
    reports.sort(key=lambda report: report["when"])
    for rank, (exit_code, when) in deaths.items():
        # the agent kills the other ranks when one has failed and the time to end by themselves is over
        ended_by_agent = any(report["kind"] != "Stopped" and report["when"] < when - GRACE + 1 for report in reports)
        if exit_code < 0 and exit_code != -signal.SIGTERM and not ended_by_agent:
            name = signal.Signals(-exit_code).name
            hint = "; the system kills a process when memory runs out" if exit_code == -signal.SIGKILL else ""
            processes = _count_processes(exchange)
            return RunFailed(f"process {rank} of {processes} died of {name}{hint}; the others were ended")
    if not reports:
        return RunFailed(f"the launcher of the processes ended with code {code} and reported no error")
    first = reports[0]
    if first["kind"] == "Stopped":
        return signals.Stopped(first["signum"])
    text = first["message"]
    if first["kind"] == "Pruned":
        return Pruned(text)
    if first["kind"] == "UserError":
        return UserError(text)
    return RunFailed(f"process {first['rank']} of {_count_processes(exchange)}: {text}")


def _count_processes(exchange: Path) -> int:
    return int(json.loads((exchange / SPEC).read_text())["config"]["hardware"]["devices"])


def run_agent(exchange: Path) -> int:
    """Run torchrun's agent: it starts the ranks, and ends all of them when one fails; returns an exit code."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # the ranks report their errors themselves
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=_count_processes(exchange),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(exchange / "logs")),
    )
    try:
        elastic_launch(settings, sys.executable)("-m", "headstart.worker", str(exchange))
    except ChildFailedError as error:
        write_json(exchange / DEATHS, {rank: (fact.exitcode, fact.timestamp) for rank, fact in error.failures.items()})
        return 1
    except SignalException:  # the main process ends this one, and knows why
        return 1
    return 0


if __name__ == "__main__":
    signals.end_with_parent(signal.SIGTERM)
    sys.exit(run_agent(Path(sys.argv[1])))
