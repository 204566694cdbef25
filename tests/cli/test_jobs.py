"""A job works in the folder of the command, whatever Hydra does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from headstart.cli.summary import _work_where_the_command_was_given
from headstart.preflight.command import examine


@pytest.mark.parametrize("changes", ["true", "false"])
def test_relative_paths_count_from_where_the_command_was_given(
    changes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, made_by_hydra = tmp_path / "given", tmp_path / "hydra"
    given.mkdir()
    made_by_hydra.mkdir()
    monkeypatch.chdir(given)
    command = examine([f"hydra.job.chdir={changes}"], libraries=False, machine=False)
    assert command.composer is not None
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(command.composer.launch_config(command.jobs[0].overrides))
    monkeypatch.chdir(made_by_hydra if changes == "true" else given)  # as Hydra does before it calls a job
    before = Path.cwd()
    with _work_where_the_command_was_given():
        assert Path.cwd() == given
    assert Path.cwd() == before
