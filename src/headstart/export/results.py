"""The numbers of a model card, as `result.json` and those of the study's other seeds have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.export.markdown import text
from headstart.report.study import columns, groups
from headstart.report.study.read import read

if TYPE_CHECKING:
    from headstart.storage.records import Result

TITLES = {
    "accuracy": "accuracy, %",
    "top5": "top-5 accuracy, %",
    "balanced_accuracy": "balanced accuracy, %",
    "f1": "macro F1, %",
    "auroc": "AUROC, %",
    "nll": "NLL, nats",
    "ece": "expected calibration error, %",
}
MOST = 60  # classes in the table
FEW = 20  # test images of a class, below which its recall says little


def collect(run: Path, result: Result) -> dict[str, Any]:
    """The facts of the card's tables: results, calibration, recall by class."""
    group = find_group(run)
    rows = []
    for name, title in TITLES.items():
        own, write = result["test"].get(name), columns.BY_NAME[name].write
        if own is None:
            continue
        found = None if group is None else groups.stat([each.number(f"test.{name}") for each in group.runs])
        over = "–" if found is None or found.interval is None else f"{write(found.mean)} ± {write(found.interval)}"
        rows.append({"title": title, "own": write(own), "seeds": over})
    listed, hidden = _list_classes(result)
    return {
        "results": rows,
        "seeds": 1 if group is None else len({each.repeat for each in group.runs}),
        "calibration": _read_calibration(result),
        "per_class": listed,
        "hidden": hidden,
    }


def find_group(run: Path) -> groups.Group | None:
    """The runs of the study that differ from this one in nothing but the seed; None if it stands in no study."""
    folder = run.resolve()
    found = read(folder.parent)
    if all(each.folder.name != folder.name for each in found.runs):
        return None
    rows = groups.compare(found).groups
    return next(group for group in rows if any(each.folder.name == folder.name for each in group.runs))


def _read_calibration(result: Result) -> dict[str, Any] | None:
    found = result.get("calibration") or {}
    if found.get("temperature") is None:
        return None
    pairs = {
        name: [columns.BY_NAME[name].write(part[name]) for part in (result["test"], found["test"])]
        for name in ("nll", "ece")
    }
    pairs["ece"] = [f"{value} %" for value in pairs["ece"]]
    return {"temperature": f"{found['temperature']:.4g}", "n": f"{found['n']:,}"} | pairs


def _list_classes(result: Result) -> tuple[list[dict[str, str]], int]:
    """The classes in their order, or those with the lowest recall; and how many are not among them."""
    rows = list(result.get("per_class") or ())
    if len(rows) > MOST:
        rows.sort(key=lambda row: 2.0 if row["recall"] is None else row["recall"])
    listed = [
        {"name": text(row["name"]), "images": f"{row['images']:,}"}
        | {key: "–" if row[key] is None else f"{100 * row[key]:.1f} %" for key in ("recall", "precision")}
        for row in rows[:MOST]
    ]
    return listed, len(rows) - len(listed)
