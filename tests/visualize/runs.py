"""Runs of a few digits that the tests of this folder look into."""

from pathlib import Path

from conftest import SMALL, compose


def train_small(folder: Path, *overrides: str) -> Path:
    """Train a real run; returns its folder."""
    from headstart import train

    overrides = (*SMALL, "data=digits", f"output_dir={folder}", *overrides)
    result = train.run(compose(*overrides), list(overrides))
    return folder / result["study"] / result["run"]
