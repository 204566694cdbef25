"""The table as text: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headstart.zoo.plan import PRECISIONS, WARM_UP, Machine, Plan
from headstart.zoo.rows import COLUMNS, Column, Row, frontier, notes, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Left out in this order where the terminal is too narrow; the files have them all.
SPARE = ("input_px", "peak_gpu_mb", "top5", "size_mb", "depth", "peak_mb", "ms_gpu", "gmacs")
COSTS = {"ms_cpu": "ms on this CPU", "ms_gpu": "ms on this GPU", "gmacs": "GMACs"}


def caption(rows: Sequence[Row], plan: Plan, machine: Machine) -> list[str]:
    """How the numbers came about, in sentences."""
    lines = ["Weights are random: nothing was downloaded."]
    if any(row.published for row in rows):
        keras = "batch 32, on 92 cores and on an A100"
        lines.insert(0, f"In brackets: published by Keras (keras.io/api/applications); it timed {keras}.")
    if len(rows) < plan.networks:
        lines.insert(0, f"Interrupted: {len(rows)} of {plan.networks} networks are here.")
    if not plan.devices:
        return [*lines, f"Nothing was timed ({machine.versions})."]
    precision = PRECISIONS[plan.precision]
    if plan.precision == "32" and "cuda" in plan.devices:
        precision += " (on the GPU, convolutions in TF32 where it has that)"
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    where = {"cpu": f"{machine.cpu} with {threads}", "cuda": machine.gpu}
    return [
        *lines,
        f"ms: median of {plan.repeats} inference steps after {WARM_UP} to warm up; batch {plan.batch}, {precision}, "
        f"channels_last, on {' and '.join(where[device] for device in plan.devices)}; {machine.versions}.",
    ]


def frontiers(rows: Sequence[Row]) -> list[str]:
    """For each cost, the networks that no other beats, in a sentence; nothing where one beats all."""
    lines = []
    for cost, words in COSTS.items():
        best = [row.model for row in frontier(rows, cost)]
        if len(best) > 1:
            lines.append(f"Frontier of top-1 against {words} (none is more accurate and cheaper): {', '.join(best)}.")
    return lines


def remarks(rows: Sequence[Row]) -> list[str]:
    """The sources of accuracies, what differs from Keras' networks, and what failed, in sentences."""
    sources = list(dict.fromkeys(row.source for row in rows if row.source))
    lines = [f"Accuracies published by: {', '.join(sources)}."] if sources else []
    lines += [f"{', '.join(models)}: {note}" for note, models in notes(rows).items()]
    return lines + [f"{row.model} failed: {row.error}" for row in rows if row.error]


def build(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """The table for the terminal with these columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED)
    table.add_column("model", overflow="fold")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row in rows:
        name = Text(f"{row.model} (failed)" if row.error else row.model, style="red" if row.error else "")
        table.add_row(name, *(Text(column.text(row)) for column in columns))
    return table


def show(rows: Sequence[Row], lines: Sequence[str], console: Console) -> None:
    """Print the table, without spare columns where it does not fit; piped, it rather grows wider."""
    columns = shown(rows)
    room = console.width
    for name in ("", *SPARE):
        columns = [column for column in columns if column.name != name]
        table = build(rows, columns)
        wanted = table.__rich_measure__(console, console.options.update(max_width=10_000)).maximum
        if wanted <= room or not console.is_terminal:
            break
    console.width = room if console.is_terminal else max(room, wanted)
    console.print(table)
    console.width = room
    hidden = [column.title for column in shown(rows) if column not in columns]
    if hidden:
        console.print(f"Left out for want of width: {', '.join(hidden)}; zoo.csv and the page have them.")
    for line in lines:
        console.print(line, soft_wrap=not console.is_terminal)


def headings() -> list[str]:
    """The columns of the CSV file."""
    numbers = []
    for column in COLUMNS:
        numbers += [column.name] + ([f"published_{column.name}"] if column.published else [])
    return ["model", "keras", *numbers, "source", "note", "error"]


def cells(row: Row) -> dict[str, Any]:
    """A row under `headings`, in full precision, None where not known."""
    found: dict[str, Any] = {"model": row.model, "keras": row.published.label if row.published else None}
    for column in COLUMNS:
        found[column.name] = row.known(column.name)
        if column.published:
            found[f"published_{column.name}"] = row.beside(column.name)
    note = row.published.note if row.published else None
    return found | {"source": row.source or None, "note": note or None, "error": row.error or None}


def to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV: accuracies in %, sizes and memory in 2^20 bytes, parameters as a count."""
    text = io.StringIO()
    writer = csv.DictWriter(text, headings(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells(row) for row in rows)
    return text.getvalue()


def to_json(rows: Sequence[Row], plan: Plan, machine: Machine) -> str:
    """The rows as CSV has them, with how and where they were measured."""
    made = {"plan": asdict(plan) | {"warm_up": WARM_UP}, "machine": asdict(machine)}
    return json.dumps(made | {"rows": [cells(row) for row in rows]}, indent=2) + "\n"


def to_markdown(rows: Sequence[Row], lines: Sequence[str]) -> str:
    """The table in Markdown, its remarks below."""
    columns = shown(rows)
    table = [["model", *(column.title for column in columns), "source"]]
    table.append(["---", *["---:"] * len(columns), "---"])
    for row in rows:
        name = f"{row.model} ({row.published.label})" if row.published else row.model
        table.append(
            [name, *(column.text(row) for column in columns), f"failed: {row.error}" if row.error else row.source]
        )
    text = "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in table)
    return text + "\n\n" + "\n\n".join(_plain(line) for line in lines) + "\n"


def _plain(text: str) -> str:
    """Text as Markdown shows it: names with _ or * in them, and no cell's end inside a cell."""
    for sign in "\\|*_<>[]`":
        text = text.replace(sign, f"\\{sign}")
    return text
