"""A real Slurm on this machine for the tests: two nodes, two partitions of which one preempts the other, no accounting.

It needs Debian's packages `slurm-wlm` and `munge`, which `.ci/run` installs.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.runtime.signals import end_with_parent

NODES = (socket.gethostname(), "localhost")  # two names of this machine, by which processes reach it
CORES = 4  # that each node says it has
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores} RealMemory=1000
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cores} RealMemory=1000
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Cluster:
    """A Slurm that runs; `config` is its `slurm.conf`, which the variable SLURM_CONF names."""

    config: Path

    def call(self, *command: str) -> str:
        """What a command of Slurm's prints."""
        env = os.environ | {"SLURM_CONF": str(self.config)}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def run_cluster() -> Iterator[Cluster]:
    """Start Slurm's daemons on free ports in a temporary folder; at the end, end them and all jobs."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    assert not missing, f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name, ExitStack() as ends:
        folder = Path(name)  # not pytest's: the path of a socket must be short
        for part in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / part).mkdir()
        key, config = folder / "munge.key", folder / "slurm.conf"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
        config.write_text(
            CONFIG.format(
                folder=folder, host=NODES[0], nodes=NODES, ports=_find_ports(3), cores=CORES, user=getpass.getuser()
            )
        )
        places = {"socket": "munge.sock", "key-file": "munge.key"}
        places |= {f"{kind}-file": f"munge.{kind}" for kind in ("log", "pid", "seed")}
        files = [f"--{option}={folder / place}" for option, place in places.items()]
        _start(ends, folder, "munged", "--foreground", "--force", *files)
        _wait_until((folder / "munge.sock").exists)
        _start(ends, folder, "slurmctld", "-D", "-f", str(config))
        for node in NODES:
            _start(ends, folder, "slurmd", "-D", "-f", str(config), "-N", node)
        cluster = Cluster(config)
        ends.callback(_cancel_all, cluster)
        _wait_until(lambda: cluster.call("sinfo", "--noheader", "--format=%T", "--Node") == "\n".join(["idle"] * 4))
        yield cluster


def _find_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


def _start(ends: ExitStack, folder: Path, *command: str) -> None:
    """Start a daemon that ends with this process, however that ends; its words are in the folder."""
    log = ends.enter_context((folder / f"{'-'.join(command[:1] + command[-1:])}.log".replace("/", "_")).open("w"))
    daemon = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=lambda: end_with_parent(signal.SIGKILL),
    )
    ends.callback(_end, daemon)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _cancel_all(cluster: Cluster) -> None:
    with suppress(subprocess.CalledProcessError, AssertionError):
        cluster.call("scancel", "--quiet", "--state=PENDING", f"--user={getpass.getuser()}")
        cluster.call("scancel", "--quiet", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
        _wait_until(lambda: not cluster.call("squeue", "--noheader"), 30)


def _wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while True:
        with suppress(subprocess.CalledProcessError):  # a daemon that does not answer yet
            if condition():
                return
        assert time.monotonic() < limit, "too late"
        time.sleep(0.1)
