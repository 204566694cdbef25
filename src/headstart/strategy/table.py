"""The strategy as a table, before anything runs: what learns, how fast, what is frozen and what of it is cached.

``headstart train --explain …`` prints it for the jobs of a command, and reads neither data nor weights: the machine
that they are for may be another.
"""

from collections.abc import Iterable, Sequence

from headstart.config.schema import PhaseConfig, RunConfig
from headstart.errors import UserError
from headstart.strategy.plan import Phase
from headstart.strategy.route import Way, way

# phase, depth, rate (None: frozen), parameters, whether frozen, how its prefix is run, what the phase does
Row = tuple[str, str, float | None, int, bool, str, str]


def rows(phases: Sequence[Phase], ways: Sequence[Way], config: RunConfig) -> list[Row]:
    """A row for each phase and range of depths with one rate."""
    return [
        (phase.name, depth, rate, count, rate is None, _prefix(way), _work(phase.config, way, config))
        for phase, way in zip(phases, ways, strict=True)
        for depth, rate, count in phase.rows
    ]


def _prefix(way: Way) -> str:
    if way.cut is None:
        return f"not cached: {way.why}"
    return f"cached up to {way.cut.at}" + (f", {way.views} views" if way.views else "")


def _work(phase: PhaseConfig, way: Way, config: RunConfig) -> str:
    """What a phase does, in words."""
    mixing = {name: getattr(config.augment, name) for name in ("mixup", "cutmix")}
    mixing = {name: strength for name, strength in mixing.items() if strength}
    smoothed = [f"labels smoothed by {config.label_smoothing:g}"] if config.label_smoothing else []
    if phase.probe is not None:
        words = [f"{str(phase.probe.get('_target_')).rpartition('.')[2]} head", "fitted"]
        words += smoothed if way.smooths else []
        idle = {"label_smoothing": smoothed and not way.smooths, "patience": config.patience}
        return ", ".join(words) + _without([*mixing, *(name for name, on in idle.items() if on)])
    words = [f"{phase.epochs} epochs", f"lr {phase.lr or config.optimizer['lr']:g}"]
    words += [f"stops after {config.patience} without gain"] if config.patience else []
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
    """The table as aligned text; ``heads`` follows the count of a row of depth 'head'."""
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


def main(argv: Sequence[str]) -> int:
    """Print the table of every different strategy and network that ``headstart train ARGV`` would run.

    Of a sweep of too many jobs every value is tried once, and a last line says so.

    Raises:
        UserError: lists everything that is wrong with the command.
    """
    from headstart.config import validate
    from headstart.preflight import command

    found, jobs, combinations = command.examined(list(argv), libraries=True, machine=False)
    validate.raise_if_any(found)
    tables: dict[str, None] = {}
    for config in jobs:
        try:
            tables.setdefault("\n".join([title(config), *lines(*_outlined(config))]))
        except UserError as error:
            found.append(str(error))
    validate.raise_if_any(list(dict.fromkeys(found)))
    print("\n\n".join(tables))
    if len(jobs) < combinations:
        print(f"\n{len(jobs)} of {combinations} jobs were looked at: each value of the sweep once")
    return 0


def title(config: RunConfig) -> str:
    """Network, weights and strategy of a job."""
    weights = config.model.weights if config.strategy.start == "pretrained" else "random"
    return f"{config.model.name} ({weights} weights)  |  {config.strategy.name}  |  {config.data.name}"


def _outlined(config: RunConfig) -> tuple[list[Row], str]:
    """The table of a job from the network alone, with random weights and one output, and what its head counts by."""
    from headstart.models import factory
    from headstart.strategy import plan

    side = config.data.image_size or factory.expected_input(config.model).image_size
    model, _ = factory.create(config.model, ("any",), pretrained=False)
    factory.check_size(model, config.model.name, side, factory.expected_input(config.model).image_size)
    phases = plan.plan(model, config.strategy.phases)
    plan.check_floor(phases, config)
    ways = [way(model, phase, config, side) for phase in phases]
    return rows(phases, ways, config), " a class"
