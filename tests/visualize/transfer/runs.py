"""Runs of a few digits that the tests of this folder look into."""

from pathlib import Path

from conftest import SMALL, compose


def train_small(folder: Path, *overrides: str) -> Path:
    """Train a real run; returns its folder."""
    from headstart import train

    result = train.run(compose(*SMALL, f"output_dir={folder}", *overrides), list(overrides))
    return folder / result["study"] / result["run"]
