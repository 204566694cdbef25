"""The table as text: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headstart.storage.plain_text import plain_cell
from headstart.zoo.plan import PRECISIONS, WARM_UP, Machine, Plan
from headstart.zoo.rows import COLUMNS, Column, Row, collect_notes, frontier, known_columns, list_notes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Left out in this order if the terminal is too narrow; the files have all columns.
SPARE = ("input_px", "peak_gpu_mb", "top5", "size_mb", "depth", "peak_mb", "ms_gpu", "gmacs")
COSTS = {"ms_cpu": "ms on this CPU", "ms_gpu": "ms on this GPU", "gmacs": "GMACs"}


def make_caption(rows: Sequence[Row], plan: Plan, machine: Machine) -> list[str]:
    """Describe in sentences how the numbers were measured."""
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
        precision += " (on the GPU, convolutions in TF32 if it has that)"
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    where = {"cpu": f"{machine.cpu} with {threads}", "cuda": machine.gpu}
    return [
        *lines,
        f"ms: median of {plan.repeats} inference steps after {WARM_UP} to warm up; batch {plan.batch}, {precision}, "
        f"channels_last, on {' and '.join(where[device] for device in plan.devices)}; {machine.versions}.",
    ]


def describe_frontiers(rows: Sequence[Row]) -> list[str]:
    """For each cost, a sentence with the networks on the frontier; none if there is only one."""
    lines = []
    for cost, words in COSTS.items():
        best = [row.model for row in frontier(rows, cost)]
        if len(best) > 1:
            lines.append(f"Frontier of top-1 against {words} (none is more accurate and cheaper): {', '.join(best)}.")
    return lines


def make_remarks(rows: Sequence[Row]) -> list[str]:
    """Sentences on the sources of accuracies, on differences from Keras' networks, and on networks that failed."""
    sources = list(dict.fromkeys(row.source for row in rows if row.source))
    lines = [f"Accuracies published by: {', '.join(sources)}."] if sources else []
    lines += [f"{', '.join(models)}: {note}" for note, models in collect_notes(rows).items()]
    return lines + [f"{row.model} failed: {row.error}" for row in rows if row.error]


def build_table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """Build the table for the terminal with these columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED)
    table.add_column("model", overflow="fold")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    table.add_column("weights here", no_wrap=True)
    for row in rows:
        name = Text(f"{row.model} (failed)" if row.error else row.model, style="red" if row.error else "")
        table.add_row(name, *(Text(column.text(row)) for column in columns), Text(row.here.partition(":")[0]))
    return table


def print_table(rows: Sequence[Row], lines: Sequence[str], console: Console) -> None:
    """Print the table; on a terminal that is too narrow, some columns are left out."""
    columns = known_columns(rows)
    room = console.width
    for name in ("", *SPARE):
        columns = [column for column in columns if column.name != name]
        table = build_table(rows, columns)
        wanted = table.__rich_measure__(console, console.options.update(max_width=10_000)).maximum
        if wanted <= room or not console.is_terminal:
            break
    console.width = room if console.is_terminal else max(room, wanted)
    console.print(table)
    console.width = room
    hidden = [column.title for column in known_columns(rows) if column not in columns]
    if hidden:
        console.print(f"Left out, because the terminal is too narrow: {', '.join(hidden)}; see zoo.csv or the page.")
    for line in lines:
        console.print(line, soft_wrap=not console.is_terminal)


def list_headings() -> list[str]:
    """List the columns of the CSV file."""
    numbers = []
    for column in COLUMNS:
        numbers += [column.name] + ([f"published_{column.name}"] if column.published else [])
    return ["model", "keras", *numbers, "source", "weights", "weights_here", "note", "error"]


def make_cells(row: Row) -> dict[str, Any]:
    """Make the cells of a row by the names of `list_headings`, in full precision; None if not known."""
    found: dict[str, Any] = {"model": row.model, "keras": row.published.label if row.published else None}
    for column in COLUMNS:
        found[column.name] = row.value(column.name)
        if column.published:
            found[f"published_{column.name}"] = row.published_value(column.name)
    texts = {"source": row.source, "weights": row.weights, "weights_here": row.here}
    texts |= {"note": "; ".join(list_notes(row)), "error": row.error}
    return found | {name: text or None for name, text in texts.items()}


def to_csv(rows: Sequence[Row]) -> str:
    """Format the table as CSV: accuracies in %, sizes and memory in 2^20 bytes, parameters as a count."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list_headings(), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: plain_cell(cell) for name, cell in make_cells(row).items()} for row in rows)
    return text.getvalue()


def to_json(rows: Sequence[Row], plan: Plan, machine: Machine) -> str:
    """Format the rows as JSON, with the plan and the machine of the measurement."""
    made = {"plan": asdict(plan) | {"warm_up": WARM_UP}, "machine": asdict(machine)}
    return json.dumps(made | {"rows": [make_cells(row) for row in rows]}, indent=2) + "\n"


def to_markdown(rows: Sequence[Row], lines: Sequence[str]) -> str:
    """Format the table as Markdown, with remarks below it."""
    columns = known_columns(rows)
    table = [["model", *(column.title for column in columns), "weights", "here", "source"]]
    table.append(["---", *["---:"] * len(columns), "---", "---", "---"])
    for row in rows:
        name = f"{row.model} ({row.published.label})" if row.published else row.model
        table.append(
            [
                name,
                *(column.text(row) for column in columns),
                row.weights,
                row.here,
                f"failed: {row.error}" if row.error else row.source,
            ]
        )
    text = "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in table)
    return text + "\n\n" + "\n\n".join(_plain(line) for line in lines) + "\n"


def _plain(text: str) -> str:
    """Escape characters that have a meaning in Markdown, such as _ and * in names and | in cells."""
    for sign in "\\|*_<>[]`":
        text = text.replace(sign, f"\\{sign}")
    return text
