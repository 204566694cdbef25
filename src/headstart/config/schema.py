"""The schema of a run's config, and its two forms: typed dataclasses and plain containers.

Nothing here imports torch, timm or Lightning, so that `--help`, `--cfg job` and a misspelt key are answered at once.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf


@dataclass
class ModelConfig:
    """A network by its timm name, and where its weights come from."""

    name: str = MISSING
    weights: str = "imagenet"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass
class PhaseConfig:
    """One phase: how long it lasts, and at what rate each part of the network learns (`null`: frozen).

    `headstart.config.rates` explains the rates.
    """

    rates: dict[str, Any] = MISSING
    epochs: int | None = None
    probe: dict[str, Any] | None = None
    augment: bool | None = None  # null: as the group augment says, if the phase trains on images
    views: int | None = None  # how many augmented views of each training image are cached
    cache: bool = True  # false: the frozen layers are computed again in every epoch
    statistics: str = "live"  # of batch norms whose weights learn: live, or frozen as pretrained
    lr: float | None = None
    weight_decay: float | None = None
    penalty: dict[str, Any] | None = None  # added to the loss; see `headstart.penalty`
    average: float | None = None  # decay of a moving average of the weights; the phase's result is this average


@dataclass
class StrategyConfig:
    """Phases in their order, and whether the weights start `pretrained` or from `scratch`."""

    name: str = MISSING
    start: str = "pretrained"
    phases: dict[str, PhaseConfig] = field(default_factory=dict)


@dataclass
class HeadConfig:
    """The probe that fits the head on features of the frozen backbone; strategies refer to it as `${head.probe}`."""

    kind: str = MISSING
    probe: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """A labelled set of images, the size at which the network sees them, and how many are used."""

    name: str = MISSING
    source: dict[str, Any] = MISSING
    image_size: int | None = None
    resize: str = "auto"
    flip: bool = True
    batch_size: int = 32
    train_per_class: int | None = None
    train_fraction: float | None = None
    n_train: int | None = None
    n_test: int | None = None
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    group: str | None = None  # a table's column, or regex:PATTERN on paths: no group stands in two parts
    folds: int | None = None  # cross-validation: the test set is the part number `fold` of as many
    fold: int | None = None
    split_seed: int = MISSING
    on_bad_image: str = "raise"
    pixel_range: tuple[float, float] | None = None  # of 16-bit and floating-point images: `headstart.data.pixel_range`
    sampling: str = "uniform"
    storage: str = "auto"


@dataclass
class AugmentConfig:
    """Random changes of training images, drawn again for each image in each epoch; mixing is drawn for each batch."""

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
    """Where and how the run computes; each `auto` is resolved for the machine before the run gets its identity."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1  # machines, each with `devices` processes; more than one with hydra/launcher=slurm only
    precision: str = "auto"
    memory_format: str = "channels_last"
    compile: bool = False
    tune: bool = False  # time a few steps to choose memory_format, precision and compile: `headstart.tuning.tune`
    allow_bf16: bool = False  # whether tune may choose another precision than auto would
    accumulate: int = 1
    clip: float | None = None
    workers: int = 0
    threads: int | None = None

    @property
    def processes(self) -> int:
        """How many processes a resolved config asks for, on all machines together."""
        return self.devices * self.nodes


@dataclass
class FeaturesConfig:
    """How the features of frozen layers are kept: in which precision, and in memory or in a memory-mapped file."""

    dtype: str = "auto"  # auto: the dtype of the frozen layers' output
    storage: str = "auto"  # auto: mapped if they would fill more than half of the free memory


@dataclass
class LoggerConfig:
    """Where curves are sent, in addition to `metrics.csv`."""

    wandb: bool = False
    tensorboard: bool = False
    mlflow: bool = False
    trackio: bool = False
    project: str = "headstart"
    entity: str | None = None
    mode: str = "auto"
    tags: list[str] = field(default_factory=list)
    system: bool = True
    artifacts: str = "none"
    mlflow_uri: str | None = None


@dataclass
class RunConfig:
    """All settings of one run."""

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
    imports: list[str] | None = None  # modules of one's own: `headstart.config.own_code`
    study: str = MISSING
    seed: int = MISSING
    epochs: int = MISSING
    learning_rate: str | None = (
        None  # find: a range test sets optimizer.lr, once a study: `headstart.tuning.learning_rate`
    )
    label_smoothing: float = 0.0
    class_weights: str = "none"
    patience: int | None = None
    select: str = MISSING
    output_dir: str = MISSING
    cache_dir: str | None = MISSING
    checkpoint_every: float = 60.0
    keep: str = "best"
    measures: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)  # filled in by the run, for `config.yaml`
    rerun: bool = False
    fail_fast: bool = False  # of a sweep: the first failed job is the last one that runs
    prune: str = "none"  # of a phase that learns by gradient: `headstart.search.prune`
    trial: int | None = None  # of a search: the run's number, from 0
    sweep: list[str] | None = None  # of a command, not of a run: `headstart.preflight.lines`

    @property
    def cache(self) -> Path | None:
        """The cache folder that all runs share; None: nothing is cached on disk."""
        return None if self.cache_dir is None else Path(self.cache_dir)


FIND = "find"  # the value of `learning_rate` that asks for a range test


def takes_common_rate(phase: PhaseConfig) -> bool:
    """Whether a phase learns by gradient at `optimizer.lr`."""
    return phase.probe is None and phase.lr is None


def is_random(augment: AugmentConfig | None) -> bool:
    """Whether an augmentation changes pixels at random; crop_scale = crop_ratio = [1, 1] is the centre crop."""
    if augment is None:
        return False
    crops = tuple(augment.crop_scale) != (1.0, 1.0) or tuple(augment.crop_ratio) != (1.0, 1.0)
    return bool(crops or augment.flip or augment.rotation or augment.color_jitter or augment.erasing)


def mixes(augment: AugmentConfig | None) -> bool:
    """Whether an augmentation mixes the images of a batch and their labels."""
    return augment is not None and bool(augment.mixup or augment.cutmix)


def to_typed(config: DictConfig) -> RunConfig:
    """Resolve every interpolation of a composed config and return it as plain dataclasses."""
    value = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(RunConfig), config))
    assert isinstance(value, RunConfig)
    return value


def from_plain(values: dict[str, Any]) -> RunConfig:
    """Turn what `to_plain` returned into the config again."""
    return to_typed(OmegaConf.create(values))


def to_plain(config: RunConfig) -> dict[str, Any]:
    """Turn the config into nested dicts, lists and scalars."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): convert(item) for key, item in value.items()}
        return [convert(item) for item in value] if isinstance(value, list | tuple) else value

    return {key: convert(value) for key, value in asdict(config).items()}
