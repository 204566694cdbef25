"""The numbers of a map: its table, and the points as a file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from headstart.storage.plain_text import escape_controls, plain_row

if TYPE_CHECKING:
    from headstart.visualize.embedding.points import Maps

HEADS = ("accuracy", "k-NN, features", "k-NN, map", "trustworthiness")


def format_table(maps: Maps) -> list[str]:
    """The numbers of each map as aligned lines."""
    names = [escape_controls(each.name) for each in maps.maps]
    width = max(map(len, names))
    lines = [f"{len(maps.names)} test images", f"{'':<{width}}  {'  '.join(HEADS)}"]
    for name, each in zip(names, maps.maps, strict=True):
        shares = (each.accuracy, each.quality.knn_features, each.quality.knn_map)
        cells = [*(f"{100 * share:.1f} %" for share in shares), f"{each.quality.trustworthiness:.3f}"]
        aligned = (f"{cell:>{len(head)}}" for cell, head in zip(cells, HEADS, strict=True))
        lines.append(f"{name:<{width}}  {'  '.join(aligned)}")
    return lines


def make_csv(maps: Maps) -> str:
    """The points: for each image its name and class, and for each map x, y and the predicted class."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    more = ("",) if len(maps.maps) == 1 else ("_1", "_2")
    writer.writerow(["name", "class", *(f"{column}{end}" for end in more for column in ("x", "y", "predicted"))])
    for row, (name, label) in enumerate(zip(maps.names, maps.labels, strict=True)):
        cells = [(*each.points[row].tolist(), maps.classes[each.predicted[row]]) for each in maps.maps]
        writer.writerow(plain_row([name, maps.classes[label], *(cell for some in cells for cell in some)]))
    return text.getvalue()
