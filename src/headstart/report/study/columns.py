"""The numbers of a row: where each comes from, how it is written for people, and what it means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headstart.report.study.groups import Group, Stat
from headstart.report.study.metric import Metric
from headstart.report.study.read import Run

BACKWARD = 2  # a backward pass through what learns costs twice the forward pass: activations' and weights' gradients


@dataclass(frozen=True)
class Column:
    """One number of a row.

    `name` begins its columns in summary.csv, `title` heads it in tables, `note` explains it; `spread` says
    whether its interval over seeds is of interest, and `rising` whether more of it is better.
    """

    name: str
    title: str
    note: str
    value: Callable[[Run], float | None]
    write: Callable[[float], str]
    spread: bool = False
    rising: bool = False

    def text(self, group: Group, plus_minus: str = "±") -> str:
        """The group's value for people: `mean ± half-width`, with `-` for what is not known."""
        found = group.over_runs(self.value)
        if found is None:
            return "-"
        if self.name == group.metric.name:
            return self.with_interval(found, plus_minus)
        more = "≥ " if self.name == "training_gmacs" and any(is_lower_bound(run) for run in group.runs) else ""
        return more + self.write(found.mean)

    def with_interval(self, found: Stat, plus_minus: str = "±") -> str:
        """A mean with the half-width of its interval, which is `-` for one run."""
        half = "-" if found.interval is None else self.write(found.interval)
        return f"{self.write(found.mean)} {plus_minus} {half}"


def percent(value: float) -> str:
    """A share of 1 in percent, one digit after the point."""
    return f"{100 * value:.1f}"


def count(value: float) -> str:
    """A count with a unit: 812, 12.8 k, 3.4 M, 1.2 G."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.99995 * size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def nats(value: float) -> str:
    """A loss, three digits after the point."""
    return f"{value:.3f}"


def short(value: float) -> str:
    """A number of three digits, never with an exponent: 0.0314, 1240."""
    return f"{float(f'{value:.3g}'):.10g}"


def macs(value: float) -> str:
    """Multiply-adds, given in units of 10^9: 812 M, 12.8 G, 3.4 T, 1.2 P; 0 is 0."""
    if value == 0:
        return "0"
    for size, unit in ((1e6, "P"), (1e3, "T"), (1.0, "G")):
        if abs(value) >= 0.99995 * size:
            return f"{value / size:.1f} {unit}"
    return f"{1000 * value:.3g} M"


def duration(value: float) -> str:
    """Seconds as 0.84 s, 12.3 s, 3.4 min or 1.2 h."""
    if value < 0.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5997 else f"{value / 3600:.1f} h"


def _at(path: str) -> Callable[[Run], float | None]:
    return lambda run: run.number(path)


def _share(name: str, title: str, note: str) -> Column:
    """A share of the test images of which more is better."""
    return Column(name, title, note, _at(f"test.{name}"), percent, spread=True, rising=True)


def _loss(name: str, title: str, note: str, path: str, write: Callable[[float], str]) -> Column:
    """A number of the test part of which less is better."""
    return Column(name, title, note, _at(path), write, spread=True)


def training_gmacs(run: Run) -> float | None:
    """Multiply-adds of training and validation, in units of 10^9; None where the result does not say enough.

    GMACs per image x (images that went through the backbone, but for the test set's, + 2 x images of gradient
    steps in which the whole network learned). Fitting a head on features is not counted.
    """
    each, forwards, tested = (run.number(path) for path in ("gmacs", "backbone_forwards", "n_test"))
    if each is None or forwards is None or tested is None:
        return None
    return each * (forwards - tested + BACKWARD * sum(_count_learned(run, phase) or 0.0 for phase in _phases(run)))


def is_lower_bound(run: Run) -> bool:
    """Whether more was computed than is counted: a backward pass through a part of the network, or its rest's
    training on features of its first layers.
    """
    return any(_count_learned(run, phase) is None for phase in _phases(run))


def _phases(run: Run) -> list[Any]:
    phases = run.result.get("phases")
    return phases if isinstance(phases, list) else [None]


def _count_learned(run: Run, phase: Any) -> float | None:
    """Images that went back through the whole network in a phase; None where a part of it learned, or nobody knows."""
    if not isinstance(phase, Mapping):
        return None
    if phase.get("kind") in ("probe", "features"):
        return 0.0 if phase.get("cut_at") == "head" else None
    start = f"strategy.phases.{phase.get('name')}.rates."
    rates = [value for key, value in (run.config or {}).items() if key.startswith(start)]
    epochs, images = phase.get("epochs"), run.number("n_train")
    if not rates or None in rates or not isinstance(epochs, int) or images is None:
        return None
    return epochs * images


COLUMNS = (
    _share(
        "accuracy",
        "accuracy %",
        "Share of test images whose class is right: mean over seeds ± half-width of the 95 % interval (Student's t).",
    ),
    _share("balanced_accuracy", "balanced %", "Mean of the accuracies per class, so that each class counts the same."),
    _share("top5", "top-5 %", "Share of test images whose class is among the five likeliest."),
    _share(
        "f1",
        "macro F1 %",
        "Mean over classes of F1, the harmonic mean of recall and precision, so that each class counts the same.",
    ),
    _share(
        "auroc",
        "AUROC %",
        "Chance that an image of a class gets a higher probability of it than one of another class, mean over classes;"
        " not known without probabilities or where a class has no test image.",
    ),
    _loss(
        "nll",
        "NLL",
        "Negative log-likelihood of the right class in nats; less is better; not known where a probe gives no"
        " probabilities.",
        "test.nll",
        nats,
    ),
    _loss(
        "ece",
        "ECE %",
        "Expected calibration error: how far confidence lies from accuracy on average; less is better.",
        "test.ece",
        percent,
    ),
    _loss(
        "nll_calibrated",
        "NLL cal.",
        "NLL at the temperature that was fitted on validation images; not known where the head was refitted on them.",
        "calibration.test.nll",
        nats,
    ),
    _loss(
        "ece_calibrated",
        "ECE cal. %",
        "Expected calibration error at the temperature that was fitted on validation images.",
        "calibration.test.ece",
        percent,
    ),
    Column(
        "seconds",
        "time",
        "What a run costs with a cold cache: seconds.total, plus seconds.features_reused, which the features cost that"
        " it took from the cache. Mean over seeds.",
        lambda run: run.seconds,
        duration,
        spread=True,
    ),
    Column("epochs", "epochs", "Epochs trained, all phases together; 0 for a fitted probe.", _at("epochs"), count),
    Column(
        "backbone_forwards",
        "forwards",
        "Images that a run sent through the backbone, as it counted them.",
        _at("backbone_forwards"),
        count,
    ),
    Column("params_trainable", "trainable", "Parameters that any phase trained.", _at("params.trainable"), count),
    Column("params_total", "params", "All parameters of the network.", _at("params.total"), count),
    Column("gmacs", "GMACs", "10⁹ multiply-adds for one image.", _at("gmacs"), short),
    Column(
        "training_gmacs",
        "training MACs",
        "Multiply-adds of training and validation, the test set's left out: GMACs per image times the images that went"
        " through the backbone, plus twice as much again for each image of a gradient step in which the whole network"
        " learns (the backward pass). No run records what fitting a head on features takes, which is little, nor a"
        " backward pass through a part of the network or training on the features of its first layers: ≥ marks those.",
        training_gmacs,
        macs,
    ),
)
BY_NAME = {column.name: column for column in COLUMNS}


def order_columns(metric: Metric) -> list[Column]:
    """All columns, that of the metric first."""
    return sorted(COLUMNS, key=lambda column: column.name != metric.name)
