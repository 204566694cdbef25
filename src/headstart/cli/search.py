"""Run a search: Optuna proposes one trial after the other, and each is an ordinary run in the study's folder.

Several launches of one search share its trials: a proposal is made under a lock, from the runs that are there and from
what the other launches say in their journals.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig

from headstart.cli import supervise
from headstart.cli.forecast import Expected, Times, expect_jobs, name_kind, try_networks
from headstart.cli.jobs import make_task, run_job_of_sweep, take_over
from headstart.cli.progress import Sweep, digest_kind, silence
from headstart.cli.summary import JobSummary
from headstart.config.schema import RunConfig, to_plain
from headstart.config.validate import raise_if_any
from headstart.config.words import count, spell_seconds
from headstart.models import preprocessing
from headstart.preflight.command import Command
from headstart.preflight.jobs import Job, compose_job
from headstart.runtime import hardware
from headstart.search.history import write_search
from headstart.search.objective import MAXIMIZE, describe_values, find_front
from headstart.search.propose import propose
from headstart.search.space import Params
from headstart.search.trials import COMPLETE, PRUNED, UNFINISHED, WITHOUT_VALUE, TrialReader, add_claims
from headstart.storage import locks
from headstart.storage.journal import RUNNING, SKIPPED, JobState, Journal, find_launches
from headstart.tracking import progress
from headstart.tracking.console import configure_logging

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between two looks at trials that other launches run
LOCK = "search.lock"


@dataclass(frozen=True)
class Proposal:
    """A trial to run: its number, and its values."""

    number: int
    params: Params


class Search(Sweep):
    """The trials of a search: those that are there, and one job for each number that is not.

    `conf/hydra/sweeper/search.yaml` names this class; Hydra itself never builds it.
    """

    def __init__(self, command: Command) -> None:
        assert command.search is not None
        self.command, self.plan = command, command.search
        self.sample = command.jobs[0]
        self.folder = Path(self.sample.config.output_dir) / self.sample.config.study
        self.reader = TrialReader(self.folder, self.plan.space, self.plan.objectives, self._read_settled)
        self.problems: dict[int, list[str]] = {}  # of trials whose values do not go together
        self.exhausted = False  # every point of the space has been tried
        found = self.reader.read()
        self.of_grids = sum(trial.number is None and trial.state == COMPLETE for trial in found)
        budget = max(0, self.plan.n_trials - self.of_grids)
        super().__init__([self.sample] * budget)
        command.jobs = self.jobs

    def announce(self) -> None:
        """Log how many trials there are, and how long the others will take."""
        configure_logging(quiet=False)
        self.times = Times()
        with silence(), progress.watch_run(), progress.task("looking at the trials of the search"):
            (expected,) = expect_jobs([self.sample.config], self.times)
            expected.complete = False
            try_networks([expected], self.times)
        self.expected = [expected] * len(self.jobs)
        self.began = time.monotonic()
        there = sum(trial.state in (COMPLETE, PRUNED) for trial in self.reader.read())
        keys = ", ".join(each.path for each in self.plan.space.dimensions)
        goal = " and ".join(f"{each.direction} {each.name}" for each in self.plan.objectives)
        log.info("search in %s: %s over %s", self.folder, goal, keys)
        grids = f", {self.of_grids} of them runs of other commands" if self.of_grids else ""
        left = self.estimate(range(there - self.of_grids, len(self.jobs)))
        about = f", in about {spell_seconds(left)}" if left else ""
        words = f"{count(self.plan.n_trials, 'trial')}: {there} there already{grids}, "
        log.info("%s%d to run%s", words, max(0, self.plan.n_trials - there), about)

    def list_states(self) -> list[JobState]:
        """The trials as a journal lists them; other launches of this search list the same."""
        assert self.times is not None
        return [
            JobState(f"trial {number + 1}", f"trial-{number}", digest_kind(job), self.times.expect(job))
            for number, job in enumerate(self.expected)
        ]

    def choose(self) -> Proposal | None:
        """What to run next: an unfinished trial, or a new one; None if there is nothing that this launch can run now.

        Trials that are complete are counted on the way.
        """
        trials = add_claims(self.reader.read(), claims := self._read_claims())
        numbered = {trial.number: trial for trial in trials if trial.number is not None}
        for number in range(len(self.jobs)):
            if number in self.ended:
                continue
            trial = numbered.get(number)
            if trial is not None and trial.state in (COMPLETE, PRUNED, WITHOUT_VALUE):
                self.running[number] = time.monotonic()
                self.end_job(number, SKIPPED)
            elif trial is not None and trial.state == UNFINISHED:
                return Proposal(number, trial.params)
            elif trial is None and number not in claims:
                params = propose(self.plan.space, self.plan.objectives, trials, seed=self.plan.seed, number=number)
                if params is not None:
                    return Proposal(number, params)
                self.exhausted = True
                return None
        return None

    def is_over(self) -> bool:
        """Whether no launch has anything to run any more."""
        return self.exhausted or len(self.ended) == len(self.jobs)

    def prepare(self, proposal: Proposal) -> None:
        """Put the job of a proposal in its place, and let the other launches know of it."""
        number, overrides = proposal.number, self._combine(proposal.params)
        config = self._read_config(overrides)
        if config is None:  # the job itself says why, and fails
            self.problems[number] = compose_job(self._composer, overrides, this_machine=True)[0]
            config = self.sample.config
        self.jobs[number] = Job(tuple(overrides), replace(config, trial=number))
        self.expected[number] = Expected(config, name_kind(to_plain(config)))
        assert self.journal is not None
        self.journal.write(number, RUNNING, values=dict(proposal.params), name=self.name_job(number))

    def read_config(self, number: int) -> RunConfig:
        """The config of a trial that has been prepared; raises UserError if its values do not go together."""
        raise_if_any(self.problems.get(number, []))
        return self.jobs[number].config

    def name_job(self, number: int) -> str:
        """A trial as the lines of the search name it."""
        swept = {each.key for each in self.plan.space.dimensions}
        own = [text for text in self.jobs[number].task_overrides if text.partition("=")[0] in swept]
        return "  ".join([f"trial {number + 1} of {len(self.jobs)}", *own])

    def describe_end(self) -> list[str]:
        """Say how the trials ended, and which are the best."""
        if self.exhausted:
            log.info("the search ends here: every point of its space has been tried")
        return [*super().describe_end(), *self._describe_best()]

    def _describe_best(self) -> Iterator[str]:
        trials = [trial for trial in self.reader.read() if trial.state == COMPLETE]
        front = find_front(self.plan.objectives, [trial.values for trial in trials])
        if len(self.plan.objectives) > 1 and front:
            yield f"{count(len(front), 'trial')} that no other one beats in both (the Pareto front):"
        shown = [trials[each] for each in front]
        first = self.plan.objectives[0]
        for trial in sorted(shown, key=lambda each: each.values[0], reverse=first.direction == MAXIMIZE):
            scores = describe_values(self.plan.objectives, trial.values)
            values = "  ".join(self.plan.space.write(trial.params).values())
            yield f"{'' if len(shown) > 1 else 'best: '}{scores}  |  {values}  |  {self.folder / trial.name}"

    @property
    def _composer(self) -> Any:
        return self.command.composer

    def _combine(self, params: Params) -> list[Override]:
        """The overrides of a trial: the fixed ones of the command, and its values in the places of the swept ones."""
        chosen, parser, axes = self.plan.space.write(params), OverridesParser.create(), self.command.axes
        return [parser.parse_override(chosen[key]) if key in chosen else axes[key][0] for key in axes]

    def _read_config(self, overrides: list[Override]) -> RunConfig | None:
        """The config of a trial; None if it is not valid."""
        config: RunConfig | None = self._composer.read_values(overrides)
        if config is None:
            problems, config = compose_job(self._composer, overrides, this_machine=False)
            config = None if problems else config
        return config

    def _read_settled(self, params: Params) -> RunConfig | None:
        """The config of a trial as a run keeps it."""
        config = self._read_config(self._combine(params))
        if config is None:
            return None
        return replace(
            config, model=preprocessing.adopt(config.model), hardware=hardware.resolve_hardware(config.hardware)
        )

    def _read_claims(self) -> Mapping[int, Params]:
        """What other launches of this search run, by number."""
        states = self.list_states()
        mine = None if self.journal is None else self.journal.path
        return {
            number: job.values
            for launch in find_launches(self.folder)
            if launch.path != mine and len(launch.jobs) == len(states) and launch.look().alive
            for number, job in enumerate(launch.jobs)
            if job.state == RUNNING and job.run == f"trial-{number}"
        }


def run_search(command: Command, settings: DictConfig, context: HydraContext, summary: JobSummary) -> None:
    """Run the trials of a command's search, one after the other, until all are there."""
    search = Search(command)
    search.announce()
    summary.shares = True
    with Journal(Path(settings.hydra.sweep.dir)).open(search.list_states()) as search.journal:
        take_over(search, summary)
        write_search(search.journal.path.parent, search.plan, search.reader.read())
        supervise.announce(search.journal.path)
        while not (summary.failed and search.sample.config.fail_fast):
            with locks.hold(search.folder / ".hydra" / LOCK, wait=True):
                before = len(search.ended)
                proposal = search.choose()
                summary.done += len(search.ended) - before
                summary.skipped += len(search.ended) - before
                if proposal is not None:
                    search.prepare(proposal)
            if proposal is not None:
                task = make_task(search.jobs[proposal.number], summary, search, proposal.number)
                run_job_of_sweep(command, settings, context, proposal.number, task)
            elif search.is_over():
                break
            if proposal is None or summary.held:  # other launches run the rest, and may leave it unfinished
                summary.held.clear()
                time.sleep(POLL)
    summary.closing = search.describe_end()
