"""Hydra's callbacks: make its folders with our error messages, and mask secrets in the files that it writes.

`conf/config.yaml` names the callback.
"""

import errno
import logging
import tempfile
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from headstart.errors import RunFailed, UserError
from headstart.storage import files
from headstart.storage.redact import mask

log = logging.getLogger(__name__)


class FolderRefused(BaseException):
    """A folder could not be made; no job has begun. No `Exception`, because Hydra turns those into warnings."""

    def __init__(self, error: UserError | RunFailed) -> None:
        super().__init__(str(error))
        self.error = error


class Folders(Callback):
    """Makes the folder that Hydra would make, and masks what Hydra writes there.

    Where a study's folder can be read and not written, Hydra gets a temporary folder, for this process alone: the
    study's completed runs are then skipped, and each other one says that its own folder cannot be made.
    """

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        self._make_folder(config, config.hydra.run)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        folder = self._make_folder(config, config.hydra.sweep)
        try:  # Hydra writes this file again; written here first, a full disk gives our error message
            files.write_text(folder / "multirun.yaml", mask(OmegaConf.to_yaml(config)))
        except RunFailed as error:
            raise FolderRefused(error) from error

    def _make_folder(self, config: DictConfig, owner: DictConfig) -> Path:
        """Make `owner.dir`, or put a temporary folder in its place."""
        try:
            files.make_folder(Path(owner.dir), "output_dir")
        except UserError as error:
            study = Path(config.output_dir) / config.study
            if not _is_read_only(error.__cause__, study):
                raise FolderRefused(error) from error
            log.warning("%s cannot be written: its completed runs are skipped, and no other can run there", study)
            self._temporary = tempfile.TemporaryDirectory(prefix="headstart-")
            with read_write(owner), open_dict(owner):
                owner.dir = self._temporary.name
        return Path(owner.dir)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        written = [Path(config.hydra.sweep.dir) / "multirun.yaml"]
        if config.hydra.output_subdir is not None:
            written += (Path(config.hydra.runtime.output_dir) / config.hydra.output_subdir).glob("*.yaml")
        for path in written:
            text = path.read_text("utf-8") if path.is_file() else ""
            if mask(text) != text:
                files.write_text(path, mask(text))


def _is_read_only(reason: BaseException | None, study: Path) -> bool:
    """Whether a folder could not be made because a study's folder, which exists, cannot be written."""
    denied = isinstance(reason, PermissionError) or (isinstance(reason, OSError) and reason.errno == errno.EROFS)
    return denied and study.is_dir()
