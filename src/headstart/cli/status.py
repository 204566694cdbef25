"""`headstart status`: how far a study is, from its folders alone; nothing is locked, written or trained."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.config.paths import make_path

DESCRIPTION = """\
Say how far a study is: how many jobs are done, running, failed, skipped and waiting, how long the rest takes, what
failed and why, and which run was cut off. It reads the study's folders only, so it works from another terminal, and
from every machine that sees them."""
EVERY = 2.0  # seconds between two looks of --watch
EXAMPLES = """\
example:
  headstart status demo --watch    # until nothing runs any more"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart status",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY", help="the study; default: the one that was written to last")
    add("--output-dir", metavar="FOLDER", default="outputs", help="the folder of studies (default: outputs)")
    add("--watch", action="store_true", help=f"look again every {EVERY:g} s, until nothing runs any more")
    add("--json", action="store_true", help="print the same as one JSON object")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_args(argv)
    from headstart.storage.study_state import read_study

    folder = _find(make_path(options.output_dir), options.study)
    shown: list[str] = []
    while True:
        study = read_study(folder)
        lines = [json.dumps(study.as_json(), ensure_ascii=False)] if options.json else describe(study)
        _show(lines, shown, again=options.watch)
        if not options.watch or not study.runs_now:
            return 0
        shown = lines
        time.sleep(EVERY)


def _find(outputs: Path, name: str | None) -> Path:
    from headstart.errors import UserError, did_you_mean

    known = [path for path in sorted(outputs.glob("*/")) if not path.name.startswith(".")] if outputs.is_dir() else []
    if not known:
        raise UserError(f"{outputs} holds no study. Run one first, for example: headstart train -m experiment=demo")
    if name is None:
        return max(known, key=lambda path: max((each.stat().st_mtime for each in (path, *path.glob("*"))), default=0.0))
    if name.rstrip("/") in (names := [path.name for path in known]):
        return outputs / name.rstrip("/")
    hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
    raise UserError(f"{outputs} holds no study {name!r}{hint}")


def describe(study: Any) -> list[str]:
    """Say in lines how far a study is: the counts, then each run that is not complete."""
    from headstart.config.words import count, spell_seconds
    from headstart.storage.plain_text import escape_controls

    facts = [f"{number} {state}" for state, number in study.count_jobs().items() if number]
    left = study.left
    lines = [f"study {study.folder.name}: {count(study.jobs_in_all, 'job')}: {', '.join(facts) or 'none'}"]
    if study.runs_now and left:
        lines[0] += f"  |  about {spell_seconds(left)} left"
    for launch, life in study.launches:
        quiet = f", no sign of life for {spell_seconds(life.silent)}" if life.silent > 60 else ""
        lines.append(f"  launched by {launch.owner}{quiet}" if life.alive else _describe_dead(launch))
    for run in study.runs:
        if run.state != "complete":
            where = f"  |  {run.owner}" if run.state == "running" else ""
            facts_of_run = "  |  ".join(filter(None, [run.phase, run.why]))
            lines.append(f"  {run.state:<8} {run.folder.name}  {facts_of_run}{where}".rstrip())
    lines += [f"  {'failed':<8} {job.name}  {job.why}" for job in study.failed_before_a_folder()]
    return [escape_controls(line) for line in lines]


def _describe_dead(launch: Any) -> str:
    if launch.detached and not launch.ended:
        return f"  submitted as {launch.owner}: `squeue --me` shows which of its jobs wait or run"
    if launch.ended:
        return f"  the last launch ({launch.owner}) has ended"
    return f"  the last launch ({launch.owner}) was cut off: the same command goes on with what is missing"


def _show(lines: list[str], before: list[str], *, again: bool) -> None:
    """Print lines; on a terminal over those that were shown before, elsewhere only if they are others."""
    if again and before and sys.stdout.isatty():
        import shutil

        width = max(1, shutil.get_terminal_size().columns)
        rows = sum(1 + max(0, len(line) - 1) // width for line in before)
        print(f"\x1b[{rows}A\x1b[J", end="")
    elif lines == before:
        return
    print("\n".join(lines), flush=True)
