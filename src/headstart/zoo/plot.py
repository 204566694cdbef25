"""The plot of published accuracy against measured cost, with the frontier: the best accuracy at each cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.report.charts.render import make_spec, write_png
from headstart.report.charts.scatter import draw_scatter, find_limits, greyed
from headstart.tracking.plot_style import COLOURS
from headstart.zoo.rows import Row, frontier
from headstart.zoo.tables import COSTS

LABELLED = 40  # with more points than this, only those on the frontier have names
WIDTH, HEIGHT = 860, 460


def draw(rows: Sequence[Row], path: Path) -> Path | None:
    """Draw a panel for each cost that is known for two or more networks with published accuracies; None without any."""
    panels = {cost: known for cost in COSTS if len(known := _select_known(rows, cost)) > 1}
    if not panels:
        return None
    return write_png([make_spec(_draw_panel(cost, known)) for cost, known in panels.items()], path, WIDTH, across=1)


def _select_known(rows: Sequence[Row], cost: str) -> list[Row]:
    return [row for row in rows if row.value("top1") is not None and (row.value(cost) or 0.0) > 0]


def _draw_panel(cost: str, rows: Sequence[Row]) -> Any:
    best = frontier(rows, cost)
    named = rows if len(rows) <= LABELLED else best
    points = [
        {"label": row.model, "x": row.values[cost], "y": row.values["top1"], "tag": row.model if row in named else ""}
        for row in rows
    ]
    names = list(dict.fromkeys(row.model for row in rows))
    looks = greyed(names, [row.model for row in best], COLOURS[0])
    limits = find_limits(points, log=True)
    corners = [(row.values[cost], row.values["top1"]) for row in best]
    chart = draw_scatter(
        points,
        (COSTS[cost], "top-1 on ImageNet, published, %"),
        looks,
        front=[*corners, (limits[0][1], corners[-1][1])],
        limits=limits,
        number="plain",
        legend=False,
        size=(WIDTH - 60, HEIGHT),
    )
    return chart.properties(title=f"Top-1 against {COSTS[cost]}")
