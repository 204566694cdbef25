"""`headstart sync`: upload to W&B what a study's runs recorded offline, or could not upload to their end."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headstart.config.paths import make_path
from headstart.errors import RunFailed, UserError

DESCRIPTION = """\
Upload to Weights & Biases what the runs of a study recorded offline, and what broke off: each once, the attempts of a
run in their order. Each is of the whole run, whatever earlier ones sent. A run that is in progress is left alone.
Uses `wandb sync`, and the API key of WANDB_API_KEY or `wandb login`."""
EXAMPLES = """\
example:
  headstart sync demo"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart sync",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY", help="the study; default: the most recently finished one")
    add("--output-dir", metavar="FOLDER", default="outputs", help="the folder of studies (default: outputs)")
    add("--again", action="store_true", help="upload what was uploaded already too")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_args(argv)
    from headstart.config.words import count
    from headstart.report.study.read import run_folders
    from headstart.report.study.select import find
    from headstart.tracking.wandb_recordings import find_recordings, find_waiting, is_uploaded

    study = find(make_path(options.output_dir), options.study)
    runs = [run for run in run_folders(study) if find_recordings(run) and not _is_in_progress(run)]
    chosen = {run: find_recordings(run) if options.again else find_waiting(run) for run in runs}
    todo = {run: recordings for run, recordings in chosen.items() if recordings}
    if not todo:
        print(f"{study.name}: {count(len(runs), 'run')} with a W&B recording, all uploaded")
        return 0
    _check_key()
    _upload([recording for recordings in todo.values() for recording in recordings])
    left = [run for run, recordings in todo.items() if not all(map(is_uploaded, recordings))]
    print(f"{study.name}: uploaded {len(todo) - len(left)} of {count(len(todo), 'run')}")
    if left:
        names = ", ".join(run.name for run in left[:3])
        raise RunFailed(
            f"W&B did not take {count(len(left), 'run')} ({names}); start headstart sync {study.name} again"
        )
    return 0


def _is_in_progress(run: Path) -> bool:
    """Whether a process holds a run, which then uploads by itself."""
    from headstart.storage import locks
    from headstart.storage.runs import LOCK

    try:
        with locks.hold(run / LOCK):
            return False
    except UserError as error:
        print(f"left alone: {error}")
        return True


def _check_key() -> None:
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    if not wandb.login(prompt=False, verify=False):
        raise UserError("W&B has no API key: set WANDB_API_KEY or call wandb login")


def _upload(recordings: Sequence[Path]) -> None:
    """Have `wandb sync` upload recordings; it marks those that it has uploaded to their end."""
    from headstart.tracking.wandb_recordings import SYNCED

    for recording in recordings:
        recording.with_suffix(SYNCED).unlink(missing_ok=True)
    files = [str(recording.resolve()) for recording in recordings]
    subprocess.run([sys.executable, "-m", "wandb", "sync", "--include-online", *files], check=False)
