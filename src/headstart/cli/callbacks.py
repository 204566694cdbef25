"""What happens before Hydra writes, and after: a folder that cannot be made has words, and what is written no secret.

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
    """What was wrong before any job began; Hydra reports an exception of a callback as a warning, and goes on."""

    def __init__(self, error: UserError | RunFailed) -> None:
        super().__init__(str(error))
        self.error = error


class Folders(Callback):
    """Makes the folder that Hydra would make, and masks what Hydra writes there."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        _make(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        _make(folder)
        try:  # here a full disk has words; Hydra then writes the same again
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


def _make(folder: Path) -> None:
    try:
        files.make_folder(folder, "output_dir")
    except UserError as error:
        raise FolderRefused(error) from error
