"""Run the jobs of a sweep on Slurm: submit them, and, if the command waits, say how they are and how they ended.

Each job answers in files of the launch's folder. Slurm itself is asked seldom, for the jobs that answer no more; its
accounting is not needed.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.cli import slurm_submit
from headstart.cli.progress import Sweep, name_option
from headstart.cli.remote import Ended, Setup, make_orders
from headstart.cli.slurm_job import SlurmJob
from headstart.cli.slurm_submit import ALIVE, Submitter
from headstart.cli.summary import Failure, JobSummary
from headstart.config.words import count
from headstart.errors import Pruned, RunFailed, UserError
from headstart.preflight.slurm import Slurm
from headstart.runtime import signals
from headstart.storage.journal import FAILED, JOBS, PRUNED, RUNNING, SKIPPED, WAITING, Journal
from headstart.tracking import progress

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks into the folder
FIRST, LONGEST = 4.0, 30.0  # seconds until Slurm is asked, and, growing, between two questions
LATE = 10.0  # seconds after which the answer of a job that has ended must be there, whatever the file system
GRACE = 40.0  # seconds for jobs that are cancelled to write a checkpoint; Slurm itself gives them KillWait, 30 s
ENDED_WITHOUT = "its Slurm job {} ended without an answer ({}): see {}"


def run(sweep: Sweep, summary: JobSummary, settings: Slurm, folder: Path, environment: dict[str, str]) -> None:
    """Run every job of a sweep, and count in `summary` how they ended.

    Args:
        folder: of this launch.
        environment: variables that jobs get besides those of this process.

    Raises:
        UserError: Slurm refuses the jobs.
        Stopped: a stop was requested; the jobs that ran have written a checkpoint, and none is left there.
    """
    sweep.tries = False  # this machine is not like those that run the jobs
    sweep.announce()
    ended = find_ended(sweep)
    journal = Journal(folder)
    with signals.defer_signals():  # from here on jobs may be there, which a stop has to cancel
        submitted = _submit(sweep, settings, folder, [n for n in range(len(sweep.jobs)) if n not in ended], environment)
        if settings.detach and submitted:
            _leave(sweep, journal, submitted)
            _count_all(ended, sweep, summary)
            summary.closing = _describe_studies(sweep)
            return
        with journal.open(sweep.list_states()) as sweep.journal:
            _count_all(ended, sweep, summary)
            jobs = Jobs(sweep, summary, submitted, folder.absolute() / JOBS)
            jobs.run_all()
            if signum := signals.requested_stop():
                jobs.stop()
                raise signals.Stopped(signum)
    summary.closing = sweep.describe_end()


def _submit(
    sweep: Sweep, settings: Slurm, folder: Path, numbers: list[int], environment: dict[str, str]
) -> dict[int, Any]:
    """Submit the jobs with these numbers; returns submitit's object of each."""
    launch = folder.absolute()
    setup = Setup(launcher="slurm", folder=Path.cwd(), path=sys.path, threads=settings.cpus)
    orders = [
        (
            sweep.jobs[number].config.hardware,
            SlurmJob(setup, launch, settings.detach, number, *make_orders(sweep.jobs[number]), settings.max_requeues),
        )
        for number in numbers
    ]
    (launch / JOBS).mkdir(parents=True, exist_ok=True)
    submitter = Submitter(settings, sweep.jobs[0].config.study, launch / JOBS, environment)
    submitted = dict(zip(numbers, submitter.submit(orders), strict=True))
    if submitted:
        log.info("submitted as %s; logs are in %s", _name_arrays(submitted), folder / JOBS)
    return submitted


def _name_arrays(submitted: Mapping[int, Any]) -> str:
    return "Slurm job " + ", ".join(dict.fromkeys(job.job_id.partition("_")[0] for job in submitted.values()))


def _leave(sweep: Sweep, journal: Journal, submitted: Mapping[int, Any]) -> None:
    """Write for `headstart status` what was submitted; the jobs say the rest themselves."""
    journal.hand_over(sweep.list_states(), _name_arrays(submitted))
    sweep.journal = journal


def _describe_studies(sweep: Sweep) -> list[str]:
    studies = dict.fromkeys((job.config.study, job.config.output_dir) for job in sweep.jobs)
    return [
        f"see how far they are: headstart status {shlex.quote(study)}{name_option(where)}" for study, where in studies
    ]


def find_ended(sweep: Sweep) -> dict[int, Ended]:
    """The jobs, by number, whose runs are complete or pruned already: these need no place on the cluster."""
    from headstart import train

    found: dict[int, Ended] = {}
    for number, job in enumerate(sweep.jobs):
        measures = job.config.hardware.tune or job.config.learning_rate is not None  # that would begin here
        if sweep.expected[number].complete and not measures:
            with suppress(UserError, RunFailed, OSError):  # the job itself says what is wrong
                try:
                    done = train.find_done(job.config)
                except Pruned as verdict:
                    found[number] = Ended(PRUNED, pruned=str(verdict))
                else:
                    found |= {number: Ended(SKIPPED, done.read_accuracy("test"))} if done else {}
    return found


def _count_all(ended: Mapping[int, Ended], sweep: Sweep, summary: JobSummary) -> None:
    """Note the jobs that have ended before they began."""
    for number, each in ended.items():
        sweep.begin_job(number)
        each.count(sweep, summary, number)


class Jobs:
    """The jobs of a sweep on Slurm.

    Args:
        submitted: submitit's object of each job, by its number in the sweep.
        folder: of their answers and logs.
    """

    def __init__(self, sweep: Sweep, summary: JobSummary, submitted: Mapping[int, Any], folder: Path) -> None:
        self.sweep, self.summary, self.folder = sweep, summary, folder
        self.left = dict(submitted)  # those that have not ended
        self.said: dict[int, tuple[str, int]] = {}  # of each: its last state, and how often it was started again
        self.gone: dict[int, tuple[float, str]] = {}  # that Slurm runs no more: since when, and its last words of them
        self.asked, self.pause = time.monotonic(), FIRST

    def run_all(self) -> None:
        """Wait until all jobs have ended, a stop is requested, or one has failed and that is to end the sweep."""
        watch = progress.Watch("sweep", self.sweep.left, None, self.sweep.count_ended)
        with progress.watch_run(watch), progress.task("jobs wait in Slurm's queue") as shown:
            while self.left and not signals.requested_stop():
                self.look()
                running = len(self.sweep.running)
                self.sweep.at_once = max(1, running)
                waiting = len(self.left) - running
                shown.what = f"{count(running, 'job')} at work, {waiting} in Slurm's queue"
                time.sleep(LOOK if self.left else 0)

    def look(self) -> None:
        """Look how the jobs are, and take note of it."""
        for number, job in list(self.left.items()):
            self._read_state(number)
            if job.paths.result_pickle.exists():
                self._end(number, self._read_answer(number))
            elif number in self.gone and time.monotonic() - self.gone[number][0] > LATE:
                self._end(number, self._explain(number, self.gone[number][1]))
        if time.monotonic() - self.asked > self.pause:
            self._ask()
        if self.summary.failed and any(self.sweep.jobs[number].config.fail_fast for number in self.left):
            self._drop_waiting()

    def _read_state(self, number: int) -> None:
        """Read what a job says of itself, and say it if it is new."""
        with suppress(OSError, ValueError):
            found = json.loads((self.folder / f"{number}.json").read_text("utf-8"))
            state = found["state"], found["restarts"]
            if state == self.said.get(number):
                return
            self.said[number], name = state, self.sweep.name_job(number)
            if found["state"] == RUNNING:
                again = f"goes on, start {found['restarts'] + 1}" if found["restarts"] else ""
                self.sweep.begin_job(number)
                self.sweep.log_state(*filter(None, (name, found["where"], again)))
            elif found["state"] == WAITING:
                self.sweep.running.setdefault(number, time.monotonic())  # where it began between two looks
                self.sweep.end_job(number, WAITING, found["why"])
                log.warning("%s  |  %s: it waits in Slurm's queue, to go on from its checkpoint", name, found["why"])

    def _end(self, number: int, ended: Ended) -> None:
        del self.left[number]
        self.gone.pop(number, None)
        self.sweep.running.setdefault(number, time.monotonic())  # where it began and ended between two looks
        ended.count(self.sweep, self.summary, number)

    def _ask(self) -> None:
        """Ask Slurm which of the jobs it still has; more and more seldom."""
        self.asked, self.pause = time.monotonic(), min(LONGEST, 2 * self.pause)
        found = slurm_submit.list_states([job.job_id for job in self.left.values()])
        if found is None:  # it does not answer; jobs go on without it
            return
        for number, job in self.left.items():
            state = found.get(job.job_id, "gone")
            if state in ALIVE:
                self.gone.pop(number, None)
            else:
                self.gone.setdefault(number, (time.monotonic(), state))

    def _read_answer(self, number: int) -> Ended:
        try:
            answer: Ended = self.left[number].task(0).result()
        except Exception as error:  # of `SlurmJob` itself, such as a full disk
            return self._explain(number, str(error).strip().splitlines()[0])
        return answer

    def _explain(self, number: int, state: str) -> Ended:
        job = self.left[number]
        why = ENDED_WITHOUT.format(job.job_id, state, job.paths.stderr)
        return Ended(FAILED, failure=Failure(f"headstart: {why}", why, 1))

    def _drop_waiting(self) -> None:
        """Take the jobs that have not begun out of Slurm's queue."""
        waiting = {number: job for number, job in self.left.items() if number not in self.sweep.running}
        slurm_submit.cancel([job.job_id for job in waiting.values()], "--state=PENDING")
        for number in waiting:
            self.sweep.running.pop(number, None)
            del self.left[number]

    def stop(self) -> None:
        """Cancel the jobs: those that run write a checkpoint at their next step, if Slurm gives them the time."""
        identities = [job.job_id for job in self.left.values()]
        slurm_submit.cancel(identities)
        end = time.monotonic() + GRACE
        while time.monotonic() < end and ALIVE & set((slurm_submit.list_states(identities) or {}).values()):
            time.sleep(LOOK)
        for number in list(self.sweep.running):
            self.sweep.end_job(number, WAITING)
