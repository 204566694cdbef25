"""`headstart clean`: list what a study's runs and the caches hold that can be made again, and delete it if told to."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.config.paths import make_path
from headstart.errors import RunFailed, UserError

if TYPE_CHECKING:
    from headstart.storage.leftovers import Leftover

DESCRIPTION = """\
List what can be made again, with its size and age, and delete it after a question: checkpoints of completed runs,
half-written files, and the caches that all studies share (cached features, digests of image files, timings).
Results, predictions, the final weights, and everything that an unfinished run needs to go on stay. A run that another
process holds is left alone, and no symbolic link is followed."""
EXAMPLES = """\
examples:
  headstart clean                                  list all that can be made again, and ask
  headstart clean demo --older-than 30d --dry-run
"""
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart clean",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("studies", nargs="*", metavar="STUDY", help="the studies; default: all of them")
    add("--output-dir", metavar="FOLDER", default="outputs", help="the folder of studies (default: outputs)")
    add("--cache-dir", metavar="FOLDER", help="the cache, as cache_dir says it (default: <output-dir>/.cache)")
    add("--older-than", metavar="AGE", help="only what was written longer ago, such as 30d (also 12h, 4w)")
    add("--dry-run", action="store_true", help="list, and delete nothing")
    add("--yes", "-y", action="store_true", help="delete without a question")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_args(argv)
    from headstart.storage import leftovers

    outputs = make_path(options.output_dir)
    cache = outputs / ".cache" if options.cache_dir is None else make_path(options.cache_dir)
    least = 0.0 if options.older_than is None else parse_age(options.older_than)
    cleaner = _Cleaner(least)
    cleaner.look(_find_runs(outputs, options.studies))
    cached = cleaner.choose(leftovers.find_cached(cache))
    found = [*(leftover for some in cleaner.found.values() for leftover in some), *cached]
    _show(found, cleaner.left_alone)
    if not found or not _is_confirmed(options.yes, options.dry_run):
        return 0
    try:
        freed = cleaner.delete() + leftovers.delete(cached)
    except OSError as error:
        raise RunFailed(f"cannot delete {error.filename}: {error.strerror}; start headstart clean again") from error
    print(f"deleted {format_size(freed)}")
    return 0


class _Cleaner:
    """What can be deleted in the folders of runs, each of which is locked while it is looked at or cleaned.

    Args:
        least: seconds; what was written more recently stays.
    """

    def __init__(self, least: float) -> None:
        self.least = least
        self.found: dict[Path, list[Leftover]] = {}
        self.left_alone: list[str] = []

    def choose(self, leftovers: Iterable[Leftover]) -> list[Leftover]:
        """Those that are old enough."""
        return [leftover for leftover in leftovers if leftover.age >= self.least]

    def look(self, runs: Iterable[Path]) -> None:
        """Find what can be deleted; a run that another process holds is left alone."""
        for run in runs:
            if not self._find(run):  # not even locked, because whoever starts it meanwhile would be refused
                continue
            with self._lock(run) as free:
                if free:
                    self.found[run] = self._find(run)

    def delete(self) -> int:
        """Delete what was found, as far as it still can be deleted; returns the bytes that became free."""
        from headstart.storage import leftovers

        freed = 0
        for run, some in self.found.items():
            with self._lock(run) as free:
                if free:  # found again: meanwhile the run may have been started with rerun=true, and stopped
                    shown = {(leftover.kind, leftover.folder) for leftover in some}
                    again = self._find(run)
                    freed += leftovers.delete(one for one in again if (one.kind, one.folder) in shown)
                else:
                    print(self.left_alone[-1])
        return freed

    def _find(self, run: Path) -> list[Leftover]:
        from headstart.storage import leftovers

        return self.choose([*leftovers.find_checkpoints(run), *leftovers.find_half_written(run)])

    @contextmanager
    def _lock(self, run: Path) -> Iterator[bool]:
        """Whether this process holds the run inside this context."""
        from headstart.storage import locks
        from headstart.storage.runs import LOCK

        with ExitStack() as stack:
            try:
                stack.enter_context(locks.hold(run / LOCK))
                free = True
            except UserError as error:
                self.left_alone.append(f"left alone: {error}")
                free = False
            yield free


def parse_age(text: str) -> float:
    """The seconds that an age such as `30d` means.

    Raises:
        UserError: it is no age.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    if found is None:
        raise UserError(f"--older-than {text}: must be a number and h, d or w (hours, days, weeks), such as 30d")
    return float(found[1]) * HOURS[found[2]] * 3600


def format_size(size: float) -> str:
    """A number of bytes in the largest unit that leaves at least 1."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == UNITS[0] else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def format_age(seconds: float) -> str:
    """An age in hours, or from two days on in days."""
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _find_runs(outputs: Path, names: Sequence[str]) -> list[Path]:
    """The folders of the runs of these studies, or of all; symbolic links are left out."""
    from headstart.report.study.read import run_folders
    from headstart.report.study.select import find, studies

    chosen = [find(outputs, name) for name in dict.fromkeys(names)] if names else studies(outputs)
    if not outputs.is_dir():
        raise UserError(f"--output-dir {outputs}: there is no such folder")
    links = [path for path in chosen if path.is_symlink()]
    for path in links:
        print(f"left alone: {path} is a symbolic link")
    return [run for study in chosen if study not in links for run in run_folders(study) if not run.is_symlink()]


def _show(found: Sequence[Leftover], left_alone: Sequence[str]) -> None:
    """Print what can be deleted, by kind, the largest first, and the totals."""
    from headstart.storage.plain_text import escape_controls

    for line in left_alone:
        print(escape_controls(line))
    if not found:
        print("nothing to delete")
        return
    print("can be made again:")
    for kind in dict.fromkeys(leftover.kind for leftover in found):
        some = sorted((one for one in found if one.kind == kind), key=lambda one: -one.size)
        print(f"  {kind}: {format_size(sum(one.size for one in some))}")
        for one in some:
            line = f"    {format_size(one.size):>9}  {format_age(one.age):>9} old  {one.folder}"
            print(escape_controls(line))
    print(f"total: {format_size(sum(leftover.size for leftover in found))}")


def _is_confirmed(yes: bool, dry_run: bool) -> bool:
    """Whether to delete: `--yes`, or the answer of the person at the terminal."""
    if dry_run:
        print("nothing is deleted: --dry-run")
        return False
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("nothing is deleted: without a terminal to ask at, --yes deletes")
        return False
    answer = input("Delete all of this? [y/N] ")
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing is deleted")
    return False
