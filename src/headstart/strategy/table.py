"""The strategy as a table, before anything runs: what learns, how fast, what is frozen and what of it is cached."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstart.config.schema import AugmentConfig, PhaseConfig
from headstart.strategy.plan import Phase
from headstart.strategy.route import FittedHead, Route

# phase, depth, rate (None: frozen), parameters, whether frozen, how its prefix is run, what the phase does
Row = tuple[str, str, float | None, int, bool, str, str]


@dataclass(frozen=True)
class Options:
    """The options of a run that the table names beside each phase."""

    lr: float
    label_smoothing: float
    patience: int | None
    augment: AugmentConfig


def rows(phases: Sequence[Phase], routes: Sequence[Route], options: Options) -> list[Row]:
    """A row for each phase and range of depths with one rate."""
    return [
        (phase.name, depth, rate, count, rate is None, route.describe(), _work(phase.config, route, options))
        for phase, route in zip(phases, routes, strict=True)
        for depth, rate, count in phase.rows
    ]


def _work(phase: PhaseConfig, route: Route, options: Options) -> str:
    """What a phase does, in words."""
    mixing = {name: getattr(options.augment, name) for name in ("mixup", "cutmix")}
    mixing = {name: strength for name, strength in mixing.items() if strength}
    smoothed = [f"labels smoothed by {options.label_smoothing:g}"] if options.label_smoothing else []
    if isinstance(route, FittedHead):
        assert phase.probe is not None
        words = [f"{str(phase.probe.get('_target_')).rpartition('.')[2]} head", "fitted"]
        words += smoothed if route.takes_smoothing else []
        idle = {"label_smoothing": smoothed and not route.takes_smoothing, "patience": options.patience}
        return ", ".join(words) + _without([*mixing, *(name for name, on in idle.items() if on)])
    words = [f"{phase.epochs} epochs", f"lr {phase.lr or options.lr:g}"]
    words += [f"stops after {options.patience} without gain"] if options.patience else []
    words += smoothed
    words += [] if phase.augment is False else [f"{name} {strength:g}" for name, strength in mixing.items()]
    words += ["batch statistics frozen"] if phase.statistics == "frozen" else []
    if phase.penalty is not None:
        words.append(f"{str(phase.penalty.get('_target_')).rpartition('.')[2]} penalty")
    words += [f"weights averaged, decay {phase.average:g}"] if phase.average else []
    return ", ".join(words) + (_without(list(mixing)) if phase.augment is False else "")


def _without(options: Sequence[str]) -> str:
    """Options that are on, but change nothing in this phase."""
    return f"; without effect on it: {', '.join(options)}" if options else ""


def lines(table: Iterable[Row], heads: str = "") -> list[str]:
    """The table as aligned text; `heads` follows the count of a row of depth 'head'."""
    shown = [("phase", "depth", "rate", "parameters", "")]
    named: str | None = None
    for phase, depth, rate, count, frozen, prefix, work in table:
        counted = f"{count:,}{heads if depth == 'head' else ''}"
        said = "" if phase == named else f"{work}; {prefix}"
        shown.append(("" if phase == named else phase, depth, "frozen" if frozen else f"{rate:g}", counted, said))
        named = phase
    widths = [max(len(row[column]) for row in shown) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in shown
    ]
