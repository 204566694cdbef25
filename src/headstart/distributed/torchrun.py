"""A run of several processes: torchrun starts the ranks from the resolved config, one launch for each job.

There are three kinds of processes. The main process holds the run's lock and waits. An agent in its own session
(`python -m headstart.distributed.torchrun FOLDER`) runs torchrun. The ranks (`headstart.worker`) do the work. They
exchange files in a temporary folder. No rank parses overrides, nothing stays in the environment for the next job, and
a process whose parent dies ends too. On several machines (`headstart.distributed.machines`) each has its agent, and the
folder is one that all see.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headstart.config.environment import hide
from headstart.config.schema import HardwareConfig
from headstart.distributed import machines
from headstart.distributed.machines import Machines
from headstart.errors import Pruned, RunFailed, UserError
from headstart.runtime import signals
from headstart.storage.files import write_json, write_text
from headstart.storage.runs import Run

GRACE = 5  # seconds for the other ranks to end after one has failed
PATIENCE_AT_END = 30  # seconds that the others wait for rank 0 to close its files when the run is stopped
SPEC, STOP, DEATHS, APART, SHOWN = "run.json", "stop", "deaths", "apart", "shown.json"
IGNORE = "ignore-signals"
END = signal.SIGALRM  # ends an agent and its ranks where they ignore SIGTERM, which Slurm may send to all of a job


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
    """Run a run on `hardware.processes` processes; returns, when it is complete, the facts that rank 0 has shown.

    Raises:
        UserError, RunFailed: the error of the first rank that failed, or the signal that killed it.
        Stopped: a stop was requested; the ranks have written a checkpoint.
    """
    here = machines.find_assigned(hardware.nodes)
    with ExitStack() as stack:
        if here is not None and hardware.nodes > 1:
            exchange = here.folder
        else:
            exchange = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headstart-")))
        write_json(exchange / SPEC, spec.make_plain() | {"meeting": machines.choose_meeting(here, hardware.nodes)})
        locks = () if spec.run.lock is None else (spec.run.lock,)  # held until the agent has ended too
        stack.enter_context(signals.defer_signals())
        code = _run_machine(exchange, 0, hardware, here, locks)
        if code:
            raise _find_cause(exchange, code)
        shown: list[str] = json.loads((exchange / SHOWN).read_text("utf-8"))
        return shown


def follow(here: Machines, number: int) -> int:
    """On another machine than the first, run this machine's ranks if the run has some; returns an exit code.

    Raises:
        RunFailed: the first machine shows no sign of life.
    """
    if not machines.wait_for_first(here, number, SPEC):
        return 0
    hardware = HardwareConfig(**json.loads((here.folder / SPEC).read_text("utf-8"))["config"]["hardware"])
    return _run_machine(here.folder, number, hardware, here, ())


def _run_machine(
    exchange: Path, number: int, hardware: HardwareConfig, here: Machines | None, locks: tuple[int, ...]
) -> int:
    """Run the agent of a machine until it ends, and end it where the ranks of another one have failed."""
    cores = here.cores if here else os.cpu_count() or 1
    threads = hardware.threads or max(1, cores // hardware.devices)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(GRACE)}
    command = (sys.executable, "-m", "headstart.distributed.torchrun", str(exchange), str(number))
    with signals.hold_signals() if here else nullcontext():
        words = (*command, IGNORE) if here else command
        agent = subprocess.Popen(words, env=environment, start_new_session=True, pass_fds=locks)
    with agent:
        try:
            _wait(agent, exchange, several=hardware.nodes > 1)
        finally:
            if agent.poll() is None:
                agent.send_signal(END if here else signal.SIGTERM)
    return agent.returncode


def _wait(agent: subprocess.Popen[bytes], exchange: Path, *, several: bool) -> None:
    """Wait until the agent ends; pass a request to stop on to the ranks, which stop at their next step.

    Args:
        several: machines: no agent notices what fails on another one, so it is waited for no longer than `GRACE`.
    """
    failed = float("inf")
    while agent.poll() is None:
        signum = signals.requested_stop()
        if signum is not None and not (exchange / STOP).exists():
            (exchange / STOP).write_text(str(signum))
        if several and failed > time.monotonic() and _has_failed(exchange):
            failed = time.monotonic()
        if time.monotonic() - failed > GRACE + 1:
            return
        with suppress(subprocess.TimeoutExpired):
            agent.wait(0.1)


def _has_failed(exchange: Path) -> bool:
    """Whether a rank or an agent of any machine has failed; a rank that stops as it was asked to has not."""
    return any(exchange.glob(f"{DEATHS}-*")) or any(
        json.loads(path.read_text())["kind"] != "Stopped" for path in exchange.glob("rank-*.json")
    )


def _find_cause(exchange: Path, code: int) -> BaseException:
    """Find why the run ended: if a rank was killed, that caused the others' errors; else it was the first error."""
    deaths: dict[str, tuple[int, float]] = {}
    for path in exchange.glob(f"{DEATHS}-*"):
        deaths |= json.loads(path.read_text())
    reports = [json.loads(path.read_text()) for path in exchange.glob("rank-*.json")]
    reports.sort(key=lambda report: report["when"])
    if (exchange / APART).exists() and not reports:
        names = json.loads((exchange / SPEC).read_text("utf-8"))["meeting"]["names"]
        return machines.explain_missing(exchange, names, (exchange / APART).read_text("utf-8"))
    for rank, (exit_code, when) in deaths.items():
        # the agent kills the other ranks when one has failed and the time to end by themselves is over
        ended_by_agent = any(report["kind"] != "Stopped" and report["when"] < when - GRACE + 1 for report in reports)
        if exit_code < 0 and exit_code not in (-signal.SIGTERM, -END) and not ended_by_agent:
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
    hardware = json.loads((exchange / SPEC).read_text())["config"]["hardware"]
    return int(hardware["devices"]) * int(hardware["nodes"])


def run_agent(exchange: Path, number: int = 0) -> int:
    """Run torchrun's agent: it starts a machine's ranks, and ends them when one fails; returns an exit code."""
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # the ranks report their errors themselves
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    meeting = json.loads((exchange / SPEC).read_text("utf-8"))["meeting"]
    names = meeting["names"]
    several = len(names) > 1
    settings = LaunchConfig(
        min_nodes=len(names),  # never fewer: a machine that finds no other has no world of its own
        max_nodes=len(names),
        nproc_per_node=_count_processes(exchange) // len(names),
        run_id=uuid.uuid5(uuid.NAMESPACE_OID, f"{exchange}").hex if several else uuid.uuid4().hex,
        rdzv_backend="static" if several else "c10d",  # static: the first machine has rank 0
        rdzv_endpoint=f"{names[0]}:{meeting['port']}",
        rdzv_configs={"rank": number, "timeout": machines.PATIENCE} if several else {},
        local_addr=names[number],
        max_restarts=0,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(exchange / f"logs-{number}")),
    )
    if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
        settings.signals_to_handle = END.name
    try:
        elastic_launch(settings, sys.executable)("-m", "headstart.worker", str(exchange))
    except ChildFailedError as error:
        facts = {rank: (fact.exitcode, fact.timestamp) for rank, fact in error.failures.items()}
        write_json(exchange / f"{DEATHS}-{number}", facts)
        return 1
    except DistError as error:
        write_text(exchange / APART, str(error).strip().partition("\n")[0])
        return 1
    except SignalException:  # the main process ends this one, and knows why
        return 1
    return 0


if __name__ == "__main__":
    ignores = IGNORE in sys.argv[3:]
    if ignores:
        signals.ignore_signals()
    signals.end_with_parent(signal.SIGKILL if ignores else signal.SIGTERM)
    sys.exit(run_agent(Path(sys.argv[1]), int(sys.argv[2])))
