"""The run's configuration: its schema, where ``conf/`` lies, and how a composed config becomes a checked one.

Nothing here imports torch, timm or Lightning, so that ``--help``, ``--cfg job`` and a mistyped key answer at once.
"""

import json
import logging.config
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import MISSING, DictConfig, OmegaConf

from headstart.errors import UserError

# `_target_` may name these packages and no others.
ALLOWED_TARGETS = ("headstart.*", "timm.*", "torch.*", "torchmetrics.*", "pytorch_lightning.*")


@dataclass
class ModelConfig:
    """A network by timm name, and where its weights come from."""

    name: str = MISSING
    weights: str = "imagenet"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass
class PhaseConfig:
    """For how long, and at what rate each part of the network learns (``null``: frozen); see `headstart.rules`."""

    rates: dict[str, Any] = MISSING
    epochs: int | None = None
    probe: dict[str, Any] | None = None
    augment: bool | None = None  # null: as the group augment says, where the phase trains on images
    views: int | None = None  # augmented views of each training image that are cached
    cache: bool = True  # false: the frozen prefix runs anew in every epoch
    statistics: str = "live"  # of batch norms whose weights learn: live, or frozen as pretrained
    lr: float | None = None
    weight_decay: float | None = None
    penalty: dict[str, Any] | None = None  # added to the loss; see `headstart.penalty`
    average: float | None = None  # decay of an average of the weights, which is what the phase keeps


@dataclass
class StrategyConfig:
    """Ordered phases, and whether the weights start ``pretrained`` or from ``scratch``."""

    name: str = MISSING
    start: str = "pretrained"
    phases: dict[str, PhaseConfig] = field(default_factory=dict)


@dataclass
class HeadConfig:
    """What fits the head where a strategy fits it on features of the frozen backbone: ``${head.probe}``."""

    kind: str = MISSING
    probe: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """A labelled set of images, how large they are shown, and how much of it is used."""

    name: str = MISSING
    source: dict[str, Any] = MISSING
    image_size: int | None = None
    flip: bool = True
    batch_size: int = 32
    train_per_class: int | None = None
    train_fraction: float | None = None
    n_train: int | None = None
    n_test: int | None = None
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    split_seed: int = MISSING
    on_bad_image: str = "raise"
    sampling: str = "uniform"
    storage: str = "auto"


@dataclass
class AugmentConfig:
    """Random changes of each training image, drawn anew for each image in each epoch; of each batch, for mixing."""

    crop_scale: tuple[float, float] = (1.0, 1.0)
    crop_ratio: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    rotation: float = 0.0
    color_jitter: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass
class HardwareConfig:
    """Where and how the arithmetic is done; ``auto`` is settled per machine, before the run gets its identity."""

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "auto"
    memory_format: str = "channels_last"
    compile: bool = False
    tune: bool = False  # a trial of a few steps picks memory_format, precision and compile; see `headstart.tune`
    allow_bf16: bool = False  # whether it may pick another precision than the one that auto stands for
    accumulate: int = 1
    clip: float | None = None
    workers: int = 0
    threads: int | None = None


@dataclass
class FeaturesConfig:
    """How the features of frozen prefixes are kept: in which precision, and in memory or in a mapped file."""

    dtype: str = "auto"  # auto: as the prefix puts them out
    storage: str = "auto"  # auto: mapped where they would fill more than half of the free memory


@dataclass
class LoggerConfig:
    """Where curves go besides ``metrics.csv``."""

    wandb: bool = False
    project: str = "headstart"
    entity: str | None = None
    mode: str = "auto"
    tags: list[str] = field(default_factory=list)


@dataclass
class RunConfig:
    """Everything that one run is made of."""

    model: ModelConfig = field(default_factory=ModelConfig)
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    study: str = MISSING
    seed: int = MISSING
    epochs: int = MISSING
    label_smoothing: float = 0.0
    class_weights: str = "none"
    patience: int | None = None
    select: str = MISSING
    output_dir: str = MISSING
    cache_dir: str | None = MISSING
    checkpoint_every: float = 60.0
    measures: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    rerun: bool = False

    @property
    def cache(self) -> Path | None:
        """The folder that all runs share; None: nothing is kept there."""
        return None if self.cache_dir is None else Path(self.cache_dir)


def register() -> None:
    """Make the schema and the resolvers that ``conf/`` names known to Hydra and OmegaConf."""
    ConfigStore.instance().store(name="headstart_schema", node=RunConfig, replace=True)
    OmegaConf.register_resolver("headstart_study", _study, replace=True)
    OmegaConf.register_resolver("headstart_installed", _installed, replace=True)
    OmegaConf.register_resolver("headstart_share", _share, replace=True)


def _study(experiment: str | None = None) -> str:
    """The default study: the chosen experiment's name, else ``runs``."""
    if experiment is None and HydraConfig.initialized():
        experiment = HydraConfig.get().runtime.choices.get("experiment")
    return experiment if experiment not in (None, "null") else "runs"


def _installed(with_fashion_mnist: Any, without: Any) -> Any:
    """One of two values: the first where Debian's package dataset-fashion-mnist is installed."""
    from headstart.data.sources import FASHION_FOLDER

    return with_fashion_mnist if FASHION_FOLDER.is_dir() else without


def _share(epochs: Any, share: Any) -> int:
    """A share of a number of epochs, at least one: ``${headstart_share:${epochs},0.25}``."""
    return max(1, round(float(epochs) * float(share)))


def is_random(augment: AugmentConfig | None) -> bool:
    """Whether an augmentation changes any pixel; crop_scale = crop_ratio = [1, 1] is the centre crop."""
    if augment is None:
        return False
    crops = tuple(augment.crop_scale) != (1.0, 1.0) or tuple(augment.crop_ratio) != (1.0, 1.0)
    return bool(crops or augment.flip or augment.rotation or augment.color_jitter or augment.erasing)


def mixes(augment: AugmentConfig | None) -> bool:
    """Whether an augmentation mixes the images of a batch and their labels."""
    return augment is not None and bool(augment.mixup or augment.cutmix)


def folder() -> Path:
    """The folder ``conf/``: inside an installed wheel, or at the top of a checkout."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "conf", here.parents[1] / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise UserError(f"conf/config.yaml is not beside {here}: reinstall headstart")


def typed(config: DictConfig) -> RunConfig:
    """Resolve every interpolation of a composed config and return it as plain dataclasses."""
    value = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), config))
    assert isinstance(value, RunConfig)
    return value


def from_plain(values: dict[str, Any]) -> RunConfig:
    """The config that `plain` was made of."""
    return typed(OmegaConf.create(values))


def log_plainly(quiet: bool) -> None:
    """Lines on standard output as in a process of Hydra's; ``quiet``: errors only."""
    tree = OmegaConf.to_container(OmegaConf.load(folder() / "hydra" / "job_logging" / "headstart.yaml"))
    assert isinstance(tree, dict)
    logging.config.dictConfig({str(key): value for key, value in tree.items()})
    if quiet:
        logging.getLogger("headstart").setLevel(logging.ERROR)


def plain(config: RunConfig) -> dict[str, Any]:
    """The config as nested dicts, lists and scalars."""
    value = OmegaConf.to_container(OmegaConf.structured(config))
    assert isinstance(value, dict)
    return {str(key): item for key, item in value.items()}


def flat(config: RunConfig) -> dict[str, Any]:
    """The config as one level of dotted keys, the same for every run, for a dashboard to group by.

    What differs in its keys from run to run (phases, the optimizer's and the source's arguments) is one JSON text each;
    the optimizer's name, rate and weight decay also stand alone.
    """

    def walk(prefix: str, node: Any) -> Iterator[tuple[str, Any]]:
        for item in fields(node):
            value, key = getattr(node, item.name), f"{prefix}{item.name}"
            if is_dataclass(value):
                yield from walk(f"{key}.", value)
            elif isinstance(value, dict | list | tuple):
                yield key, json.dumps(value, default=vars)
            else:
                yield key, value

    alone = {f"optimizer.{key}": config.optimizer.get(key) for key in ("_target_", "lr", "weight_decay")}
    return dict(walk("", config)) | alone


def _targets(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from _targets(item)


def found(target: Any) -> Any:
    """What a ``_target_`` names, if an allowed package defines it: ``torch.os.system`` is not torch's.

    Raises:
        UserError: it is not allowed, or not there.
    """
    from hydra.utils import get_object

    names = ", ".join(prefix.removesuffix(".*") for prefix in ALLOWED_TARGETS)
    refusal = f"{target}: only things of {names} are built"
    allowed = tuple(prefix.removesuffix("*") for prefix in ALLOWED_TARGETS)
    if not isinstance(target, str) or not target.startswith(allowed):
        raise UserError(refusal)
    try:
        thing = get_object(target)
    except Exception as error:
        raise UserError(f"{target}: {str(error).splitlines()[0] if str(error) else 'not found'}") from error
    if not f"{getattr(thing, '__module__', None)}.".startswith(allowed):
        raise UserError(refusal)
    return thing


def build(node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call what ``node['_target_']`` names with the node's other keys, if it and all targets within are allowed.

    Raises:
        UserError: a target is not allowed.
    """
    from hydra.utils import instantiate

    for target in _targets(node):
        found(target)
    return instantiate(node, *args, _convert_="all", _execution_whitelist_=list(ALLOWED_TARGETS), **kwargs)
