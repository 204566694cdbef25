"""The folder `conf/`, and what its files refer to: the schema and the resolvers `${headstart_…:}`."""

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from headstart.config import environment
from headstart.config.paths import expand_home
from headstart.config.schema import RunConfig
from headstart.errors import UserError

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian: apt install dataset-fashion-mnist
WANDB_SWEEP = "wandb_sweep"  # a folder of conf/ that is no group: files for `wandb sweep`


def config_folder() -> Path:
    """Find the folder `conf/`: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "conf", package.parents[1] / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise UserError(f"conf/config.yaml is neither in {package} nor in its checkout: reinstall headstart")


def register() -> None:
    """Register the schema and the resolvers that `conf/` and the configs of runs use with Hydra and OmegaConf."""
    environment.register()
    ConfigStore.instance().store(name="headstart_schema", node=RunConfig, replace=True)
    OmegaConf.register_resolver("headstart_study", _choose_study, replace=True)
    OmegaConf.register_resolver("headstart_installed", _choose_by_installation, replace=True)
    OmegaConf.register_resolver("headstart_home", expand_home, replace=True)
    OmegaConf.register_resolver("headstart_share", _share_of_epochs, replace=True)


def _choose_study(experiment: str | None = None) -> str:
    """The default study: the name of the chosen experiment, or `search_` and that of the search space, or `runs`."""
    space = None
    if experiment is None and HydraConfig.initialized():
        choices = HydraConfig.get().runtime.choices
        experiment, space = choices.get("experiment"), choices.get("hparams_search")
    if experiment not in (None, "null"):
        return experiment
    return f"search_{space}" if space not in (None, "null") else "runs"


def _choose_by_installation(with_fashion_mnist: Any, without: Any) -> Any:
    """One of two values: the first if Debian's package dataset-fashion-mnist is installed."""
    return with_fashion_mnist if FASHION_FOLDER.is_dir() else without


def _share_of_epochs(epochs: Any, share: Any) -> int:
    """A share of a number of epochs, at least one: `${headstart_share:${epochs},0.25}`."""
    return max(1, round(float(epochs) * float(share)))
