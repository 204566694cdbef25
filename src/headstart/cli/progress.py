"""The lines of a sweep: what it will do, which job runs, and how the jobs ended."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headstart.config.words import count, spell_seconds
from headstart.tracking import progress
from headstart.tracking.console import configure_logging

if TYPE_CHECKING:
    from headstart.cli.forecast import Expected, Times
    from headstart.preflight.command import Job

log = logging.getLogger(__name__)

SILENT = ("headstart.data", "headstart.models", "headstart.tuning")  # what they say, the jobs say again


class Sweep:
    """The jobs of a sweep, and how long they still take."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.began = self.job_began = time.monotonic()
        self.shown: set[str] = set()
        self.expected: list[Expected] = []
        self.times: Times | None = None
        self.current = -1  # number of the job that runs

    def announce(self) -> None:
        """Log how many jobs there are, how many of them are complete, and how long the others will take."""
        configure_logging(quiet=False)
        from headstart.cli.forecast import Times, expect_jobs, try_networks

        with _silence(), progress.watch_run(), progress.task("looking at the jobs of the sweep"):
            self.times = Times()
            self.expected = expect_jobs([job.config for job in self.jobs], self.times)
            tried = try_networks(self.expected, self.times)
        self.began = time.monotonic()
        complete = sum(job.complete for job in self.expected)
        words = f"{count(len(self.jobs), 'job')}: {complete} complete already, {len(self.jobs) - complete} to run"
        left = self.estimate(0)
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

    def estimate(self, first: int) -> float | None:
        """The seconds of all jobs from number `first` on; None if nothing is known of any."""
        if self.times is None:
            return None
        found = [self.times.expect(job) for job in self.expected[first:]]
        known = [seconds for seconds, job in zip(found, self.expected[first:], strict=True) if seconds is not None]
        waiting = [seconds for seconds in known if seconds > 0]
        if not waiting:
            return 0.0 if len(known) == len(found) else None
        return sum(known) + (len(found) - len(known)) * sum(waiting) / len(waiting)

    def left(self) -> float | None:
        """The seconds that the sweep still takes, the rest of the current job included."""
        later = self.estimate(self.current + 1)
        if later is None or self.times is None:
            return None
        now = self.times.expect(self.expected[self.current]) or 0.0
        return later + max(0.0, now - (time.monotonic() - self.job_began))

    @contextmanager
    def show_job(self, number: int) -> Iterator[None]:
        """Around the job of this number, from 0: say which it is, and leave out what earlier jobs have said already."""
        self.current, self.job_began = number, time.monotonic()
        label, left = name_job(self.current, self.jobs), self.left()
        with progress.watch_run(progress.Watch(label, self.left, self.shown)):
            log.info("%s%s", label, f"  |  about {spell_seconds(left)} left" if left else "")
            yield

    def end_job(self, *, ran: bool) -> None:
        """Take the time of a job that was run to its end for the other jobs of its kind."""
        if ran and self.times is not None:
            self.times.add(self.expected[self.current].kind, time.monotonic() - self.job_began)

    def describe_end(self, done: int, skipped: int, failed: int) -> list[str]:
        """Say how the jobs ended, and how they can be compared."""
        seconds = spell_seconds(time.monotonic() - self.began)
        lines = [
            f"{count(len(self.jobs), 'job')} in {seconds}: {done} done, {skipped} skipped as already complete, "
            f"{failed} failed"
        ]
        studies = dict.fromkeys((job.config.study, job.config.output_dir) for job in self.jobs)
        for study, folder in studies if done + skipped else ():
            where = "" if folder == "outputs" else f" --output-dir {shlex.quote(folder)}"
            lines.append(f"compare them: headstart compare {shlex.quote(study)}{where}")
        return lines


def name_job(number: int, jobs: Sequence[Job]) -> str:
    """Name a job: its number, its strategy and seed, and what else differs between the jobs."""
    job = jobs[number]
    common = set(jobs[0].task_overrides).intersection(*(other.task_overrides for other in jobs))
    own = [text for text in job.task_overrides if text not in common]
    own = [text for text in own if text.partition("=")[0].lstrip("+") not in ("strategy", "seed")]
    label = f"job {number + 1} of {len(jobs)}  {job.config.strategy.name}  seed {job.config.seed}"
    return "  ".join([label, *own])


@contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in SILENT]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
