"""Where `conf/` lies, and what its files may ask for: the schema and the resolvers `${headstart_…:}`."""

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from headstart.config.schema import RunConfig
from headstart.errors import UserError

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian: apt install dataset-fashion-mnist


def config_folder() -> Path:
    """The folder `conf/`: inside an installed wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "conf", package.parents[1] / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise UserError(f"conf/config.yaml is not beside {package}: reinstall headstart")


def register() -> None:
    """Make the schema and the resolvers that `conf/` names known to Hydra and OmegaConf."""
    ConfigStore.instance().store(name="headstart_schema", node=RunConfig, replace=True)
    OmegaConf.register_resolver("headstart_study", _study, replace=True)
    OmegaConf.register_resolver("headstart_installed", _installed, replace=True)
    OmegaConf.register_resolver("headstart_share", _share, replace=True)


def _study(experiment: str | None = None) -> str:
    """The default study: the chosen experiment's name, else `runs`."""
    if experiment is None and HydraConfig.initialized():
        experiment = HydraConfig.get().runtime.choices.get("experiment")
    return experiment if experiment not in (None, "null") else "runs"


def _installed(with_fashion_mnist: Any, without: Any) -> Any:
    """One of two values: the first where Debian's package dataset-fashion-mnist is installed."""
    return with_fashion_mnist if FASHION_FOLDER.is_dir() else without


def _share(epochs: Any, share: Any) -> int:
    """A share of a number of epochs, at least one: `${headstart_share:${epochs},0.25}`."""
    return max(1, round(float(epochs) * float(share)))
