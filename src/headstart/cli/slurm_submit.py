"""Submit the jobs of a sweep to Slurm, by submitit: a job array for those that ask for the same machines."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config.schema import HardwareConfig
from headstart.errors import UserError
from headstart.preflight.slurm import ME, Slurm

LONGEST = 1001  # Slurm's MaxArraySize where its administrator set none: array indices are below it
# Slurm's words for jobs that it will still run, runs, or is ending
ALIVE = {
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SUSPENDED",
    "COMPLETING",
    "STAGE_OUT",
    "SIGNALING",
    "STOPPED",
    "RESIZING",
}
ALIVE |= {"REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
# Variables by which Slurm describes a job to its processes: left in the environment, they are options of the next job
LEAKS = re.compile(r"(SLURMD?|SRUN|PMIX?|PMI2)_")
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS")  # of the user's: which Slurm this is
# The GPUs of the job in which the command was given
DEVICES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a job of Slurm's has left in it, if the command was given inside of one."""
    found = {name: value for name, value in environment.items() if name in KEPT or not LEAKS.match(name)}
    if "SLURM_JOB_ID" in environment:
        found = {name: value for name, value in found.items() if name not in DEVICES}
    return found


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm's."""
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(os.environ))


def choose_parameters(settings: Slurm, hardware: HardwareConfig, study: str) -> dict[str, Any]:
    """What submitit is told of the jobs with this hardware; it writes the directives of sbatch."""
    return {
        "job_name": study,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "time": settings.time,  # None: the partition's, not submitit's five minutes
        "mem": settings.mem,
        "nodes": hardware.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": settings.cpus,
        "gpus_per_node": settings.count_gpus(hardware) or None,
        "array_parallelism": settings.at_once or LONGEST,
        "signal_delay_s": settings.warn,
        "setup": settings.setup or None,
        "wckey": None,  # submitit's own would be refused where Slurm checks them
        # srun takes over no --cpus-per-task of sbatch's; where one machine's task ends, the first one says why
        "srun_args": [f"--cpus-per-task={settings.cpus}", "--kill-on-bad-exit=0", "--wait=0"],
        "additional_parameters": {"requeue": True} | settings.options,
    }


# Until a job handles signals itself, it ignores them: one that is preempted while Python starts would end as failed
# instead of being run again.
DEAF_AT_FIRST = """sh -c 'trap "" TERM USR2; exec "$@"' sh"""


@dataclass(frozen=True)
class Submitter:
    """Submits the jobs of a sweep.

    Attributes:
        study: its name becomes the jobs'.
        folder: for scripts, logs and answers.
        environment: variables that jobs get besides those of this process.
    """

    settings: Slurm
    study: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def submit(self, jobs: Sequence[tuple[HardwareConfig, Callable[[], Any]]]) -> list[Any]:
        """Submit jobs with their hardware; returns submitit's object of each, in their order.

        Raises:
            UserError: Slurm refuses them; then none is left there.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        found: dict[int, Any] = {}
        with _use(clean_environment(os.environ) | self.environment):
            for numbers in self._list_arrays([hardware for hardware, _ in jobs]):
                executor = self.make_executor(jobs[numbers[0]][0])
                if self.settings.at_once and found:  # the limit is one of all arrays: one after the other
                    before = found[next(reversed(found))].job_id.partition("_")[0]
                    executor.update_parameters(dependency=f"afterany:{before}")
                try:
                    found |= zip(numbers, executor.submit_array([jobs[each][1] for each in numbers]), strict=True)
                except (FailedJobError, FailedSubmissionError) as error:
                    cancel([job.job_id for job in found.values()])
                    reason = " ".join(str(error).replace("sbatch: error:", "").split())
                    raise UserError(f"{ME}: Slurm refuses the jobs: {reason}") from error
        return [found[number] for number in range(len(jobs))]

    def _list_arrays(self, hardware: Sequence[HardwareConfig]) -> Iterator[list[int]]:
        """The numbers of jobs that can be one array: they ask for the same, and Slurm takes so many."""
        kinds: dict[tuple[int, str], list[int]] = {}
        for number, each in enumerate(hardware):
            kinds.setdefault((each.nodes, str(self.settings.count_gpus(each))), []).append(number)
        most = _read_longest_array()
        for numbers in kinds.values():
            yield from (numbers[start : start + most] for start in range(0, len(numbers), most))

    def make_executor(self, hardware: HardwareConfig) -> Any:
        """submitit's executor for jobs with this hardware."""
        from submitit import SlurmExecutor

        python = self.settings.python or shlex.quote(sys.executable)
        executor = SlurmExecutor(self.folder, python=f"{DEAF_AT_FIRST} {python}")
        executor.update_parameters(**choose_parameters(self.settings, hardware, self.study))
        return executor


def cancel(identities: Sequence[str], *options: str) -> None:
    """Cancel jobs by their identities, such as 12 and 13_0."""
    for start in range(0, len(identities), 500):
        call("scancel", "--quiet", *options, *identities[start : start + 500])


def _read_longest_array() -> int:
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config").stdout, re.MULTILINE)
    return max(1, int(found[1]) if found else LONGEST)


@contextmanager
def _use(environment: Mapping[str, str]) -> Iterator[None]:
    """Inside this context this process has that environment; sbatch hands it on to the jobs."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def list_states(identities: Sequence[str]) -> dict[str, str] | None:
    """Slurm's words for the states of jobs, by identity, without those it has forgotten; None: it does not answer."""
    arrays = ",".join(dict.fromkeys(each.partition("_")[0] for each in identities))
    found = call("squeue", "--noheader", "--array", "--format=%i|%T", "--states=all", f"--jobs={arrays}")
    if found.returncode:
        return {} if "Invalid job id" in found.stderr else None
    pairs = [line.strip().partition("|") for line in found.stdout.splitlines()]
    return {identity: state for identity, _, state in pairs if identity in identities}
