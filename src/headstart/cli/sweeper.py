"""Hydra's sweeper for launchers other than its basic one: it hands them the jobs that the check has listed.

Hydra's own would know nothing of the lines of a sweep (`headstart.preflight.lines`), and compose every job once more.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from hydra.core.plugins import Plugins

from headstart.preflight.hydra_internals import BasicSweeper

CHOICE = "hydra/sweeper=headstart"


class ListedJobs(BasicSweeper):
    """Launches the jobs of the command that is being run, in its order."""

    jobs: ClassVar[list[list[str]]] = []

    @staticmethod
    def split_arguments(overrides: Any, max_batch_size: int | None) -> list[list[list[str]]]:
        """The overrides of each job, in batches that a launcher gets one after the other."""
        jobs = ListedJobs.jobs or [[]]
        return list(BasicSweeper.split_overrides_to_chunks(jobs, max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: every job has been checked."""


@contextmanager
def hand_over(jobs: list[list[str]]) -> Iterator[None]:
    """Inside this context, Hydra's app runs these jobs if it is to run a sweep."""
    Plugins.instance().register(ListedJobs)
    ListedJobs.jobs = jobs
    try:
        yield
    finally:
        ListedJobs.jobs = []
