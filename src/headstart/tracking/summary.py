"""The final numbers of a run, as dashboards show them: names without dots, the same for every run of one data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart import scores
from headstart.tracking.metrics_file import MetricsFile

SUMMARY = (
    *(f"{part}.{score}" for part in ("test", "val") for score in scores.NAMES),
    *(f"seconds.{part}" for part in ("features", "features_reused", "fit", "test", "total")),
    *("params.total", "params.trainable", "gmacs", "epochs", "backbone_forwards", "images_per_second", "ms_per_image"),
    *("cached", "n_train", "n_val", "n_test"),
)
MOST_CLASSES = 200  # of more classes than this, no recall is sent: each would be a column
MISTAKES = 16


def summarise(result: Mapping[str, Any], metrics: MetricsFile) -> dict[str, Any]:
    """The numbers of `result`, the content of result.json; None where it has none.

    `best/epoch` is the epoch whose weights were tested, counted over all phases from 1, as the curves are;
    `best/val_accuracy` and `best/val_loss` are those of the tested weights. `recall/<class>` is the share of a class's
    test images that were found.
    """
    numbers = {key.replace(".", "/"): get_value(result, key) for key in SUMMARY}
    numbers |= {
        "best/epoch": find_best_epoch(result, metrics),
        "best/val_accuracy": numbers["val/accuracy"],
        "best/val_loss": numbers["val/nll"],
        "skipped_images": sum(len(names) for names in (result.get("skipped") or {}).values()),
        "attempts": result.get("attempts", 1),
    }
    classes = result.get("per_class") or []
    if len(classes) <= MOST_CLASSES:
        numbers |= {f"recall/{clean_name(row['name'])}": row["recall"] for row in classes}
    return numbers


def find_best_epoch(result: Mapping[str, Any], metrics: MetricsFile) -> int:
    """The epoch whose weights were tested; 0 if these are those that the last phase started from."""
    phases = result.get("phases") or []
    if not phases:
        return 0
    last = phases[-1]
    return metrics.find(last["name"], last.get("best_epoch", 1))


def clean_name(name: str) -> str:
    """A name as a part of a key: a dot would be read as a level of its own, a slash as a section."""
    return name.replace(".", "_").replace("/", "_")


def find_confident_mistakes(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Find the 16 mistakes with the highest confidence, the highest first; in the given order if it is not known."""
    mistakes = [row for row in rows if row["label"] != row["predicted"]]
    return sorted(mistakes, key=lambda row: -(row["confidence"] or 0.0))[:MISTAKES]


def get_value(result: Mapping[str, Any], key: str) -> Any:
    """Get the value of a dotted key; None if there is none."""
    value: Any = result
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
