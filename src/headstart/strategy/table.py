"""The strategy as a table: what learns and how fast, what is frozen, and which features are cached."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstart.config.schema import AugmentConfig, PhaseConfig
from headstart.config.words import count
from headstart.strategy.plan import Phase
from headstart.strategy.route import FittedHead, Route

# phase, depth, rate (None: frozen), number of parameters, whether frozen, whether features are cached, what it does
Row = tuple[str, str, float | None, int, bool, str, str]


@dataclass(frozen=True)
class Options:
    """The options of a run that the table shows for each phase."""

    lr: float | None  # None: it is still to be found
    label_smoothing: float
    patience: int | None
    augment: AugmentConfig


def make_rows(phases: Sequence[Phase], routes: Sequence[Route], options: Options) -> list[Row]:
    """Make a row for each phase and each range of depths with one rate."""
    return [
        (phase.name, depth, rate, count, rate is None, route.describe(), _describe_phase(phase.config, route, options))
        for phase, route in zip(phases, routes, strict=True)
        for depth, rate, count in phase.rows
    ]


def _describe_phase(phase: PhaseConfig, route: Route, options: Options) -> str:
    """Describe in words what a phase does."""
    mixing = {name: getattr(options.augment, name) for name in ("mixup", "cutmix")}
    mixing = {name: strength for name, strength in mixing.items() if strength}
    smoothed = [f"labels smoothed by {options.label_smoothing:g}"] if options.label_smoothing else []
    if isinstance(route, FittedHead):
        assert phase.probe is not None
        words = [f"{str(phase.probe.get('_target_')).rpartition('.')[2]} head", "fitted"]
        words += smoothed if route.takes_smoothing else []
        idle = {"label_smoothing": smoothed and not route.takes_smoothing, "patience": options.patience}
        return ", ".join(words) + _list_idle([*mixing, *(name for name, on in idle.items() if on)])
    words = [
        count(phase.epochs or 0, "epoch"),
        f"lr {phase.lr or options.lr:g}" if phase.lr or options.lr else "lr to be found",
    ]
    words += [f"stops after {options.patience} without gain"] if options.patience else []
    words += smoothed
    words += [] if phase.augment is False else [f"{name} {strength:g}" for name, strength in mixing.items()]
    words += ["batch statistics frozen"] if phase.statistics == "frozen" else []
    if phase.penalty is not None:
        words.append(f"{str(phase.penalty.get('_target_')).rpartition('.')[2]} penalty")
    words += [f"weights averaged, decay {phase.average:g}"] if phase.average else []
    return ", ".join(words) + (_list_idle(list(mixing)) if phase.augment is False else "")


def _list_idle(options: Sequence[str]) -> str:
    """Name the options that are on but change nothing in this phase."""
    return f"; without effect on it: {', '.join(options)}" if options else ""


def format_table(table: Iterable[Row], heads: str = "") -> list[str]:
    """Format the table as aligned text; `heads` is appended to the parameters of a row of depth 'head'."""
    cells = [("phase", "depth", "rate", "parameters", "")]
    previous: str | None = None
    for phase, depth, rate, size, frozen, caching, work in table:
        counted = f"{size:,}{heads if depth == 'head' else ''}"
        name, text = ("", "") if phase == previous else (phase, f"{work}; {caching}")
        cells.append((name, depth, "frozen" if frozen else f"{rate:g}", counted, text))
        previous = phase
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in cells
    ]
