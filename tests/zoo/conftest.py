"""The zoo of three small networks, measured once."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.zoo import command
from zoo.networks import SMALL


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small networks, measured on the CPU and written."""
    place = tmp_path_factory.mktemp("zoo")
    options = ["--repeats", "2", "--device", "cpu", "--output", str(place)]
    assert command.main([*SMALL, *options, "--sort", "top1"]) == 0
    return place
