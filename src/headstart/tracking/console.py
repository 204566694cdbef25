"""Console output of a process that Hydra does not configure: a rank of a distributed run, or a notebook."""

import logging.config

from omegaconf import OmegaConf

from headstart.config.resolvers import config_folder


def configure_logging(quiet: bool) -> None:
    """Print log lines on standard output in the format that Hydra uses; `quiet`: only errors."""
    tree = OmegaConf.to_container(OmegaConf.load(config_folder() / "hydra" / "job_logging" / "headstart.yaml"))
    assert isinstance(tree, dict)
    logging.config.dictConfig({str(key): value for key, value in tree.items()})
    if quiet:
        logging.getLogger("headstart").setLevel(logging.ERROR)
