"""The images of a run, read and split again as the run did it."""

from __future__ import annotations

import logging
from pathlib import Path

from headstart import train
from headstart.data.checks import check_images
from headstart.data.dataset import Data
from headstart.errors import UserError
from headstart.models import preprocessing
from headstart.predict.network import Network
from headstart.predict.run import read_config
from headstart.storage.records import read_result

log = logging.getLogger(__name__)


def read_run_data(network: Network) -> Data:
    """Read the data of the run that a network is from; warns if its content is no longer the run's.

    Raises:
        UserError: the network is from no run, or its images are not there any more.
    """
    if network.folder is None:
        raise UserError(f"{network.name}: is no run, so it has no images of its own; give the folder of a run")
    return read_folder_data(network.folder)


def read_folder_data(folder: Path) -> Data:
    """Read the data of the run in this folder, as `read_run_data` does."""
    config = read_config(folder)
    data = train.prepare_data(config, preprocessing.expected_input(preprocessing.adopt(config.model)))
    if config.data.on_bad_image == "skip":
        check_images(data, "skip", config.cache)
    result = read_result(folder)
    then = None if result is None else (result.get("digests") or {}).get("data")
    if then not in (None, data.digest):
        log.warning("%s: the images are not those of the run any more; what is shown is of today's", folder)
    return data
