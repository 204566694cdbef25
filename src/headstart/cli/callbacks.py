"""Hydra's callbacks: make its folders with our error messages, and mask secrets in the files that it writes.

`conf/config.yaml` names the callback.
"""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from headstart.errors import RunFailed, UserError
from headstart.storage import files
from headstart.storage.redact import mask


class FolderRefused(BaseException):
    """A folder could not be made; no job has begun. No `Exception`, because Hydra turns those into warnings."""

    def __init__(self, error: UserError | RunFailed) -> None:
        super().__init__(str(error))
        self.error = error


class Folders(Callback):
    """Makes the folder that Hydra would make, and masks what Hydra writes there."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        _make_folder(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        _make_folder(folder)
        try:  # Hydra writes this file again; written here first, a full disk gives our error message
            files.write_text(folder / "multirun.yaml", mask(OmegaConf.to_yaml(config)))
        except RunFailed as error:
            raise FolderRefused(error) from error

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        written = [Path(config.hydra.sweep.dir) / "multirun.yaml"]
        if config.hydra.output_subdir is not None:
            written += (Path(config.hydra.runtime.output_dir) / config.hydra.output_subdir).glob("*.yaml")
        for path in written:
            text = path.read_text("utf-8") if path.is_file() else ""
            if mask(text) != text:
                files.write_text(path, mask(text))


def _make_folder(folder: Path) -> None:
    try:
        files.make_folder(folder, "output_dir")
    except UserError as error:
        raise FolderRefused(error) from error
