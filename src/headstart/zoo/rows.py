"""The rows and columns of the table: measured and published numbers of each network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.errors import UserError, did_you_mean
from headstart.models.published import KERAS_TABLE, KerasNetwork
from headstart.models.published_timm import describe_recipe
from headstart.report.stats.worth import pareto_front

BY_MODEL = {row.model: row for row in KERAS_TABLE}


@dataclass(frozen=True)
class Row:
    """One network; `values` has the known numbers by the names of `COLUMNS`."""

    model: str
    values: Mapping[str, float]
    source: str = ""  # of top-1 and top-5
    published: KerasNetwork | None = None
    error: str = ""
    weights: str = ""  # timm's tag of the weights that the name loads; none: there are none
    here: str = ""  # where they are on this machine: cache, package:…, no
    tested_px: int | None = None  # side of the images on which the accuracy was measured

    def value(self, name: str) -> float | None:
        """The measured value of a column, or None."""
        return self.values.get(name)

    def published_value(self, name: str) -> float | None:
        """The published value of a column, or None."""
        column = BY_NAME[name]
        return None if self.published is None or column.published is None else column.published(self.published)


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: heading in CSV.
        title: heading in tables.
        note: explanation of the number.
        published: gets the published number, if there can be one.
        rising: whether a larger number is better.
    """

    name: str
    title: str
    note: str
    write: Callable[[float], str]
    published: Callable[[KerasNetwork], float] | None = None
    rising: bool = False

    def text(self, row: Row, missing: str = "-") -> str:
        """Format a cell as `measured (published)`."""
        value, published = row.value(self.name), row.published_value(self.name)
        measured = missing if value is None else self.write(value)
        return measured if published is None else f"{measured} ({self.format_published(published)})"

    def format_published(self, value: float) -> str:
        """Format a published value with the digits with which it was published."""
        return f"{value / 1e6:g}" if self.name == "parameters" else f"{value:g}"


def _format_briefly(value: float) -> str:
    """Format a number with three digits and without an exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.3g}"


COLUMNS = (
    Column("input_px", "px", "Side of the image that the network was made for, in pixels.", "{:.0f}".format),
    Column(
        "size_mb",
        "size MB",
        "Parameters and running statistics as float32, in units of 2^20 bytes (published: Keras).",
        _format_briefly,
        lambda row: row.size_mb,
    ),
    Column(
        "top1",
        "top-1 %",
        "Published ImageNet validation accuracy of the weights that the name loads (in brackets: of Keras' weights).",
        "{:.1f}".format,
        lambda row: row.top1,
        rising=True,
    ),
    Column(
        "top5",
        "top-5 %",
        "The same, true class among the five most probable.",
        "{:.1f}".format,
        lambda row: row.top5,
        rising=True,
    ),
    Column(
        "parameters",
        "params M",
        "Parameters in millions (published: Keras, which includes running statistics).",
        lambda value: f"{value / 1e6:.1f}" if value >= 1e5 else f"{value / 1e6:.3f}",
        lambda row: round(1e6 * row.params_m),
    ),
    Column(
        "depth",
        "depth",
        "Layers with weights of their own: convolutions, norms, linear layers; ResNet-50: 53 + 53 + 1. Keras' numbers"
        " count layers with parameters, too, but a depthwise-separable convolution as one layer, which here is two.",
        "{:.0f}".format,
        lambda row: row.depth,
    ),
    Column("gmacs", "GMACs", "10^9 multiply-adds for one image.", _format_briefly),
    Column(
        "ms_cpu",
        "ms CPU",
        "Milliseconds of an inference step on this CPU (published: Keras on 92 cores, batch 32).",
        _format_briefly,
        lambda row: row.ms_cpu,
    ),
    Column(
        "ms_gpu",
        "ms GPU",
        "Milliseconds of an inference step on this GPU (published: Keras on an A100, batch 32).",
        _format_briefly,
        lambda row: row.ms_gpu,
    ),
    Column(
        "peak_mb",
        "peak MB",
        "Peak memory of the process on the CPU, above what it had before the network was built, in units of 2^20 bytes:"
        " weights, activations, scratch space, and the code of kernels used for the first time.",
        _format_briefly,
    ),
    Column("peak_gpu_mb", "peak GPU MB", "Peak memory allocated by torch on the GPU, in 2^20 bytes.", _format_briefly),
)
BY_NAME = {column.name: column for column in COLUMNS}


def make_row(model: str, found: Mapping[str, Any]) -> Row:
    """Make a row from what was found out about a network, with Keras' figures, if it has any."""
    values = {name: found[name] for name in BY_NAME if found.get(name) is not None}
    texts = {name: str(found.get(name, "")) for name in ("source", "error", "weights", "here")}
    return Row(model, values, published=BY_MODEL.get(model), tested_px=found.get("tested_px"), **texts)


def check_sort(name: str) -> None:
    """Raise UserError with the nearest names if `--sort` names no column."""
    names = ["model", *BY_NAME]
    if name not in names:
        hint = did_you_mean(name, names, " Did you mean {}?")
        raise UserError(f"--sort {name}: no such column.{hint} Columns: {', '.join(names)}.")


def sort_rows(rows: Sequence[Row], name: str) -> list[Row]:
    """Sort the rows by one column: the best or the smallest value first, unknown values last."""
    if name == "model":
        return sorted(rows, key=lambda row: row.model)
    sign = -1 if BY_NAME[name].rising else 1
    unknown = (1, 0.0)
    return sorted(rows, key=lambda row: unknown if (found := row.value(name)) is None else (0, sign * found))


def known_columns(rows: Sequence[Row]) -> list[Column]:
    """The columns with a measured value or an accuracy; published milliseconds alone do not count."""
    return [
        column
        for column in COLUMNS
        if any(row.value(column.name) is not None for row in rows)
        or (column.rising and any(row.published_value(column.name) is not None for row in rows))
    ]


def collect_notes(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Collect notes, each with the networks that it is about: differences from Keras' network, and the weights."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for note in list_notes(row):
            found.setdefault(note, []).append(row.model)
    return found


def list_notes(row: Row) -> Iterator[str]:
    """What differs from Keras' network, how the weights were trained, and at which size they were tested."""
    if row.published is not None and row.published.note:
        yield row.published.note
    if row.weights == "none":
        yield "no published weights under this name"
    elif row.weights:
        yield f"weights {row.weights}: {describe_recipe(row.weights)}"
        if row.value("top1") is None:
            yield "the accuracy of its weights is not known here"
    if row.tested_px and row.tested_px != row.value("input_px"):
        yield f"its accuracy was measured at {row.tested_px} px, larger than it is used here"


def frontier(rows: Sequence[Row], cost: str) -> list[Row]:
    """The Pareto front, the cheapest first: rows for which no other is at least as good in accuracy and cost."""
    found = pareto_front(rows, lambda row: row.value(cost), lambda row: row.value("top1"))
    return [row for _, row in found]
