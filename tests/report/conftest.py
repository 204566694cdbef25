"""The studies that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.cli.compare import main
from report.studies import made
from study_files import write_demo, write_run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """An empty output folder."""
    return tmp_path / "outputs"


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo and two further strategies, compared: ridge has no probabilities, last_layers freezes the rest."""
    outputs = tmp_path_factory.mktemp("outputs")
    write_demo(outputs)
    for seed in range(3):
        write_run(outputs, strategy="ridge", seed=seed, skill=2.2)
        write_run(outputs, strategy="last_layers", seed=seed, skill=2.5)
    assert main(["demo", "--output-dir", str(outputs), "--no-plots", "--all-pairs"]) == 0
    return outputs


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the demo, reported with all plots."""
    outputs = tmp_path_factory.mktemp("outputs")
    write_demo(outputs)
    made(outputs)
    return outputs
