"""Whether more accuracy is worth what it costs: gains per second and per multiply-add, and the best row per budget."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from headstart.report.stats.paired import Family, Pair
from headstart.report.study.columns import BY_NAME, count, duration, is_lower_bound, macs
from headstart.report.study.groups import Comparison, Group
from headstart.report.study.read import Run

# Means of seconds that lie closer than this share may be noise of the machine.
CLEARLY = 0.9
MOST_STEPS = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """A cost that can be limited: where it is in a run, how it is written, its unit in prose, what its axis says."""

    name: str
    axis: str
    value: Callable[[Run], float | None]
    write: Callable[[float], str]
    unit: str = ""

    def of(self, group: Group) -> float | None:
        """A row's mean cost over its seeds; None where it is not known."""
        found = group.over_runs(self.value)
        return None if found is None else found.mean


BUDGETS = (
    Budget("seconds", "time with a cold cache", BY_NAME["seconds"].value, duration),
    Budget("training_gmacs", "multiply-adds of training", BY_NAME["training_gmacs"].value, macs, "MACs"),
    Budget("params_trainable", "trained parameters", BY_NAME["params_trainable"].value, count, " parameters"),
)
SECONDS, GMACS, _ = BUDGETS


def pareto_front(
    things: Iterable[T], cost: Callable[[T], float | None], worth: Callable[[T], float | None]
) -> list[tuple[float, T]]:
    """Those worth more than all that cost as much or less, with their costs, the cheapest first.

    What has no known cost or worth is left out.
    """
    known = [(c, w, thing) for thing in things if (c := cost(thing)) is not None and (w := worth(thing)) is not None]
    found: list[tuple[float, T]] = []
    most = float("-inf")
    for price, value, thing in sorted(known, key=lambda item: (item[0], -item[1])):
        if value > most:
            found.append((price, thing))
            most = value
    return found


def frontier(rows: list[Group], budget: Budget) -> list[tuple[float, Group]]:
    """The rows that no row of equal or lower cost beats, with their costs, cheapest first."""
    return pareto_front(rows, budget.of, lambda row: row.merit)


def tells(rows: list[Group], budget: Budget) -> bool:
    """Whether rows differ in a cost."""
    return len({cost for row in rows if (cost := budget.of(row)) is not None}) > 1


def cheapest(rows: list[Group]) -> Group | None:
    """The row that takes the least time, or, where no row knows it, the fewest multiply-adds."""
    for budget in (SECONDS, GMACS):
        found = frontier(rows, budget)
        if found:
            return found[0][1]
    return None


def cheaper(one: Group, other: Group) -> bool:
    """Whether a row takes clearly less time than another (less than 90 %), or fewer multiply-adds where the time of
    either is not known.
    """
    for budget in (SECONDS, GMACS):
        a, b = budget.of(one), budget.of(other)
        if a is not None and b is not None:
            return a < CLEARLY * b
    return False


@dataclass(frozen=True)
class Step:
    """What a row gains over a cheaper one, and what more it costs; None where a cost is not known."""

    pair: Pair
    seconds: float | None
    gmacs: float | None

    @property
    def mark(self) -> str:
        """How the extra multiply-adds are to be read: `≥` or `≤` where one side's are a lower bound, `~` where both
        are; else empty.
        """
        sides = [any(is_lower_bound(run) for run in row.runs) for row in (self.pair.one, self.pair.other)]
        return "~ " if all(sides) else "≥ " if sides[0] else "≤ " if sides[1] else ""

    @property
    def per_second(self) -> float | None:
        """What is gained of the metric per extra second; None where it takes no more time."""
        return self.pair.gain / self.seconds if self.seconds is not None and self.seconds > 0 else None

    @property
    def per_gmac(self) -> float | None:
        """What is gained of the metric per extra 10^9 multiply-adds; None where it takes no more of them."""
        return self.pair.gain / self.gmacs if self.gmacs is not None and self.gmacs > 0 else None


def step(family: Family, row: Group, reference: Group) -> Step:
    """What a row gains over a reference, and what more it costs."""

    def extra(budget: Budget) -> float | None:
        a, b = budget.of(row), budget.of(reference)
        return None if a is None or b is None else a - b

    return Step(family.between(row, reference), extra(SECONDS), extra(GMACS))


def over_cheapest(family: Family) -> list[Step]:
    """Every other row against the cheapest one."""
    reference = cheapest(family.rows)
    if reference is None:
        return []
    return [step(family, row, reference) for row in family.rows if row is not reference]


def along_frontier(family: Family) -> list[Step]:
    """Each row of the frontier of time (or of multiply-adds) against the one before it."""
    for budget in (SECONDS, GMACS):
        found = [row for _, row in frontier(family.rows, budget)]
        if found:
            return [step(family, row, before) for before, row in pairwise(found)]
    return []


def advice(comparison: Comparison, family: Family, budget: Budget) -> str:
    """Which row to take for a limit on a cost, in words; empty where the rows' costs do not differ or are not known."""
    found = frontier(family.rows, budget)
    if not tells(family.rows, budget):
        return ""
    names = [f"{comparison.label(row, within_task=True)} ({row.metric.text(row.score.mean)})" for _, row in found]
    limits = [budget.write(cost) + budget.unit for cost, _ in found]
    axis = budget.axis[0].upper() + budget.axis[1:]
    if len(found) == 1:
        return f"{axis}: {names[0]} is the best and the cheapest, at {limits[0]}."
    if len(found) > MOST_STEPS:
        return f"{axis}: {_describe_halves(found, names, budget)}; the line has all {len(found)} steps."
    said = [f"below {limit} take {name}" for name, limit in zip(names, limits[1:], strict=False)]
    least = f"; below {limits[0]} there is none" if found[0][0] else ""
    return f"{axis}: {', '.join(said)}, from there on {names[-1]}{least}."


def _describe_halves(found: list[tuple[float, Group]], names: list[str], budget: Budget) -> str:
    """The best row for what the best of all costs, for half of that, a quarter and an eighth, in words."""
    said: dict[str, str] = {}
    for share in (1, 2, 4, 8):
        limit = found[-1][0] / share
        within = [name for name, (cost, _) in zip(names, found, strict=True) if cost <= limit]
        if within:
            said.setdefault(within[-1], f"with up to {budget.write(limit)}{budget.unit} take {within[-1]}")
    return ", ".join(reversed(said.values()))
