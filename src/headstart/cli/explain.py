"""`headstart train --explain …`: the strategy table of each job, without reading data or weights."""

from collections.abc import Sequence
from dataclasses import replace

from headstart.config.schema import FIND, RunConfig
from headstart.errors import UserError
from headstart.strategy.route import choose_route
from headstart.strategy.table import Options, Row, format_table, make_rows


def main(argv: Sequence[str]) -> int:
    """Print the table of every different strategy and network that `headstart train ARGV` would run.

    If a sweep has too many combinations, only enough jobs are shown to see each value once, and a last line says so.

    Raises:
        UserError: lists every problem of the command.
    """
    from headstart.config.validate import raise_if_any
    from headstart.preflight.command import examine

    command = examine(argv, libraries=True, machine=False)
    raise_if_any(command.problems)
    problems: list[str] = []
    tables: dict[str, None] = {}
    different = {repr(config): config for config in (_without_seed(job.config) for job in command.jobs)}
    for config in different.values():
        try:
            tables.setdefault("\n".join([title(config), *format_table(_outline_rows(config), " per class")]))
        except UserError as error:
            problems.append(str(error))
    raise_if_any(list(dict.fromkeys(problems)))
    print("\n\n".join(tables))
    if len(command.jobs) < command.combinations:
        print(f"\n{len(command.jobs)} of {command.combinations} jobs were looked at: each value of the sweep once")
    return 0


def _without_seed(config: RunConfig) -> RunConfig:
    """The config as it is for every seed: jobs that differ in nothing else have one table."""
    return replace(config, seed=0, data=replace(config.data, split_seed=0, fold=None))


def title(config: RunConfig) -> str:
    """Name the network, the weights, the strategy and the data of a job."""
    weights = config.model.weights if config.strategy.start == "pretrained" else "random"
    return f"{config.model.name} ({weights} weights)  |  {config.strategy.name}  |  {config.data.name}"


def _outline_rows(config: RunConfig) -> list[Row]:
    """Build the table of a job from the network with random weights and one output."""
    from headstart.models import factory, preprocessing
    from headstart.strategy.plan import check_schedule, plan_phases

    network = config.model
    if (run := preprocessing.find_run(network.weights)) and not run.is_dir():
        network = replace(network, weights="none")  # an earlier job of this sweep, or a run on another machine
    network = preprocessing.adopt(network)
    own = preprocessing.expected_input(network).image_size
    side = config.data.image_size or own
    model, _ = factory.create(network, ("any",), pretrained=False)
    phases = plan_phases(model, config.strategy.phases)
    factory.check_size(model, network.name, side, own)
    check_schedule(phases, config.scheduler, config.optimizer["lr"])
    routes = [choose_route(model, phase, config.augment, side) for phase in phases]
    lr = None if config.learning_rate == FIND else config.optimizer["lr"]
    return make_rows(phases, routes, Options(lr, config.label_smoothing, config.patience, config.augment))
