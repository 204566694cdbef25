"""What stands beside the numbers: caveats, hardware, versions, and the runs that do not count."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from headstart.config.effect import NO_EFFECT
from headstart.report.study.configs import flatten
from headstart.report.study.datasets import describe_contents
from headstart.report.study.folds import CAVEAT
from headstart.report.study.groups import Comparison, Group, natural, plain
from headstart.report.study.read import Run, Study
from headstart.report.study.repeat import Repeat
from headstart.report.study.varying import split_by

MEASURED = ("peak", "free", "used", "seconds", "bytes")


def caveats(comparison: Comparison) -> list[str]:
    """What weakens the comparison, one sentence each: other data of one name, settings or hardware that change,
    repeated or lacking seeds, lost configs.
    """
    runs = comparison.study.runs
    found = describe_contents(runs)
    if comparison.along:
        settings = "; ".join(_setting(comparison, key) for key in comparison.along)
        found.append(f"Settings that change along with the rows: {settings}.")
    for group in comparison.groups:
        if len({run.repeat for run in group.runs}) < len(group.runs):
            found.append(f"{comparison.label(group)} counts a seed more than once, so its interval is too narrow.")
    for task, rows in comparison.tasks().items():
        every = sorted({run.repeat for group in rows for run in group.runs})
        owned = [(group, sorted({run.repeat for run in group.runs})) for group in rows]
        lacking = [f"{comparison.label(group)} has {_seeds(own)}" for group, own in owned if own != every]
        if lacking:
            where = f"Of {task}: " if len(comparison.tasks()) > 1 else ""
            named = ", ".join(lacking) if len(lacking) <= 3 else f"{len(lacking)} rows have some"
            found.append(
                f"{where}{named}, of {_seeds(every)}: means are over different runs, paired differences over the seeds"
                " that both rows have."
            )
    if any(run.repeat.fold >= 0 for run in runs):
        found.append(CAVEAT)
    unknown = [run.name for run in runs if run.config is None]
    if unknown:
        found.append(f"Without a readable config.yaml, so grouped by result.json alone: {', '.join(unknown)}.")
    if len(hardware(runs)) > 1:
        found.append("The runs had different hardware or settings of it, so their seconds do not compare directly.")
    return found


def _seeds(numbers: list[Repeat]) -> str:
    return f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _setting(comparison: Comparison, key: str) -> str:
    def value(run: Run) -> Any:
        return None if run.config is None else run.config.get(key)

    firsts = sorted((group.runs[0] for group in comparison.groups), key=lambda run: natural(value(run)))
    parts = split_by((run for run in firsts if value(run) != NO_EFFECT), lambda run: (value(run),))
    return f"{key} is " + ", ".join(f"{plain(value(rows[0]))} in {_holders(comparison, rows)}" for rows in parts)


def _holders(comparison: Comparison, rows: list[Run]) -> str:
    labels = [comparison.label(group) for group in comparison.groups if group.runs[0] in rows]
    return " and ".join(labels) if len(labels) <= 3 else f"{len(labels)} rows"


def hardware(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The distinct hardware facts of the runs, less what was measured (floats, peaks, free memory)."""
    return _distinct(
        {
            key: value
            for key, value in flatten(run.result.get("hardware") or {}).items()
            if not isinstance(value, float) and not any(word in key for word in MEASURED)
        }
        for run in runs
    )


def versions(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The distinct sets of library versions of the runs."""
    return _distinct(flatten(run.result.get("versions") or {}) for run in runs)


def _distinct(facts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for fact in facts:
        if fact and fact not in found:
            found.append(fact)
    return found


def not_counted(study: Study) -> str:
    """One line on the runs that do not count, by kind, unreadable ones by name; empty where all count."""
    kinds = Counter(run.kind for run in study.skipped)
    if not kinds:
        return ""
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    unreadable = [f"{run.name} ({run.detail})" for run in study.skipped if run.detail]
    return f"not counted: {counted}" + (f": {'; '.join(unreadable)}" if unreadable else "")


def sizes(group: Group) -> str:
    """How many images a row trained, validated and was tested on, as its first run says."""
    found = [(part, group.runs[0].number(f"n_{part}")) for part in ("train", "val", "test")]
    return ", ".join(f"{count:,.0f} {part}" for part, count in found if count is not None)
