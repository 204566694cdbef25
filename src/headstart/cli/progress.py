"""The lines of a sweep: what it will do, which job runs, and how the jobs ended."""

from __future__ import annotations

import hashlib
import logging
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headstart.config.words import count, spell_seconds
from headstart.storage.journal import DONE, ENDED, RUNNING, JobState, Journal, add_times
from headstart.tracking import progress
from headstart.tracking.console import configure_logging

if TYPE_CHECKING:
    from headstart.cli.forecast import Expected, Times
    from headstart.config.schema import RunConfig
    from headstart.preflight.command import Job

log = logging.getLogger(__name__)

SILENT = ("headstart.data", "headstart.models", "headstart.tuning")  # what they say, the jobs say again


class Sweep:
    """The jobs of a sweep, how they ended, and how long the others still take.

    Args:
        repeated: how many combinations were left out because they are the same run as a job.
        at_once: how many jobs run at the same time.
    """

    def __init__(self, jobs: Sequence[Job], repeated: int = 0, at_once: int = 1) -> None:
        self.jobs, self.repeated, self.at_once = list(jobs), repeated, at_once
        self.tries = True  # a few steps of networks of which no run is known, for the time that jobs take here
        self.began = time.monotonic()
        self.shown: set[str] = set()
        self.expected: list[Expected] = []
        self.times: Times | None = None
        self.running: dict[int, float] = {}  # when each job that runs has begun, by number
        self.ended: dict[int, str] = {}  # by number: done, skipped or failed
        self.journal: Journal | None = None

    def announce(self) -> None:
        """Log how many jobs there are, how many of them are complete, and how long the others will take."""
        configure_logging(quiet=False)
        from headstart.cli.forecast import Times, expect_jobs, try_networks

        with silence(), progress.watch_run(), progress.task("looking at the jobs of the sweep"):
            self.times = Times()
            self.expected = expect_jobs([job.config for job in self.jobs], self.times)
            tried = try_networks(self.expected, self.times) if self.tries else 0
        self.began = time.monotonic()
        complete = sum(job.complete for job in self.expected)
        words = f"{count(len(self.jobs), 'job')}: {complete} complete already, {len(self.jobs) - complete} to run"
        if self.repeated:
            log.info("%s of the sweep's lines left out: the same runs as other jobs", count(self.repeated, "job"))
        left = self.left()
        if complete == len(self.jobs):
            log.info("%s", words)
        elif left is None:
            log.info("%s; how long they take is not known yet", words)
        else:
            log.info("%s, in about %s (judging from %s)", words, spell_seconds(left), self._name_sources(tried))

    def _name_sources(self, tried: int) -> str:
        assert self.times is not None
        waiting = [job for job in self.expected if not job.complete]
        like = sum(len(self.times.taken.get(kind, ())) for kind in {job.kind for job in waiting})
        words = [f"{count(like, 'like run')} of this study"] if like else []
        words += [f"a trial of two steps of {count(tried, 'network')}"] if tried else []
        unknown = sum(self.times.expect(job) is None for job in waiting)
        words += [f"the mean of these for {count(unknown, 'job')}"] if unknown else []
        return " and ".join(words)

    def list_states(self) -> list[JobState]:
        """The jobs as a journal lists them."""
        assert self.times is not None
        return [
            JobState(self.name_job(number), job.name, digest_kind(job), self.times.expect(job))
            for number, job in enumerate(self.expected)
        ]

    def read_config(self, number: int) -> RunConfig:
        """The checked config of a job."""
        return self.jobs[number].config

    def name_job(self, number: int) -> str:
        """A job as the lines of the sweep name it."""
        return name_job(number, self.jobs)

    def estimate(self, numbers: Iterable[int]) -> float | None:
        """The seconds of the jobs with these numbers; None if nothing is known of any."""
        if self.times is None:
            return None
        return add_times([self.times.expect(self.expected[each]) for each in numbers], self.times.usual.values())

    def left(self) -> float | None:
        """The seconds that the sweep still takes, the rest of the jobs that run included."""
        begun = self.running.keys() | self.ended.keys()
        later = self.estimate(each for each in range(len(self.jobs)) if each not in begun)
        if later is None or self.times is None:
            return None
        running = list(self.running.items())  # the thread that shows progress reads it while jobs begin and end
        whole = [(self.estimate([number]), began) for number, began in running]
        now = [max(0.0, seconds - (time.monotonic() - began)) for seconds, began in whole if seconds is not None]
        if len(now) < len(running):
            return None
        return max([(later + sum(now)) / self.at_once, *now])

    def count_ended(self) -> str:
        """How many jobs have ended, and how: `3 done, 1 failed`; empty before the first."""
        found = Counter(self.ended.values())
        return ", ".join(f"{found[state]} {state}" for state in ENDED if found[state])

    @contextmanager
    def show_job(self, number: int) -> Iterator[None]:
        """Around the job of this number, from 0: say which it is, and leave out what earlier jobs have said already."""
        self.begin_job(number)
        label = self.name_job(number)
        with progress.watch_run(progress.Watch(label, self.left, self.shown, self.count_ended)):
            self.log_state(label)
            yield

    def begin_job(self, number: int) -> None:
        """Note that a job begins."""
        self.running[number] = time.monotonic()
        if self.journal is not None:
            self.journal.write(number, RUNNING)

    def log_state(self, *facts: str) -> None:
        """Log facts of a job, with how many have ended, and how long the rest takes."""
        left = self.left()
        rest = (self.count_ended(), f"about {spell_seconds(left)} left" if left else "")
        log.info("%s", "  |  ".join(filter(None, (*facts, *rest))))

    def end_job(self, number: int, state: str, why: str = "") -> None:
        """Note how a job ended; what one that ran to its end took counts for the others of its kind."""
        seconds = time.monotonic() - self.running.pop(number)
        if state == DONE and self.times is not None:
            self.times.add(self.expected[number].kind, seconds)
        if self.journal is not None:
            self.journal.write(number, state, seconds=seconds, why=why)
        if state in ENDED:
            self.ended[number] = state

    def describe_end(self) -> list[str]:
        """Say how the jobs ended, and how they can be compared."""
        found = Counter(self.ended.values())
        done, skipped, failed, pruned = (found[state] for state in ENDED)
        missing = len(self.jobs) - len(self.ended)
        seconds = spell_seconds(time.monotonic() - self.began)
        more = (f", {pruned} pruned" if pruned else "") + (f", {missing} not run (fail_fast=true)" if missing else "")
        lines = [
            f"{count(len(self.jobs), 'job')} in {seconds}: {done} done, {skipped} skipped as already complete, "
            f"{failed} failed{more}"
        ]
        studies = dict.fromkeys((job.config.study, job.config.output_dir) for job in self.jobs)
        for study, folder in studies if done + skipped else ():
            lines.append(f"compare them: headstart compare {shlex.quote(study)}{name_option(folder)}")
        return lines


def name_option(output_dir: str) -> str:
    """The option by which a verb finds the studies of another folder than `outputs`."""
    return "" if output_dir == "outputs" else f" --output-dir {shlex.quote(output_dir)}"


def digest_kind(job: Expected) -> str:
    """The kind of a job as a journal has it."""
    return hashlib.blake2b(job.kind.encode(), digest_size=8).hexdigest()


def name_job(number: int, jobs: Sequence[Job]) -> str:
    """Name a job: its number, its strategy and seed, and what else differs between the jobs."""
    job = jobs[number]
    common = set(jobs[0].task_overrides).intersection(*(other.task_overrides for other in jobs))
    own = [text for text in job.task_overrides if text not in common]
    own = [text for text in own if text.partition("=")[0].lstrip("+") not in ("strategy", "seed")]
    label = f"job {number + 1} of {len(jobs)}  {job.config.strategy.name}  seed {job.config.seed}"
    return "  ".join([label, *own])


@contextmanager
def silence() -> Iterator[None]:
    """Inside this context, what the jobs say again is not said."""
    loggers = [logging.getLogger(name) for name in SILENT]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
