"""A row of the table: what was measured of a network, beside what is published of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.errors import UserError, did_you_mean
from headstart.models.published import KERAS_TABLE, KerasNetwork
from headstart.report import pareto

KERAS = "Keras Applications (lecture)"
BY_MODEL = {row.model: row for row in KERAS_TABLE}


@dataclass(frozen=True)
class Row:
    """One network. `values` has numbers under the names of `COLUMNS`, as far as they are known."""

    model: str
    values: Mapping[str, float]
    source: str = ""  # of top-1 and top-5
    published: KerasNetwork | None = None
    error: str = ""

    def known(self, name: str) -> float | None:
        """A column's own value."""
        return self.values.get(name)

    def beside(self, name: str) -> float | None:
        """A column's published value."""
        column = BY_NAME[name]
        return None if self.published is None or column.published is None else column.published(self.published)


@dataclass(frozen=True)
class Column:
    """A number: `name` heads it in CSV, `title` in tables, `note` says what it is, `published` where its twin stands.

    `rising`: more of it is better.
    """

    name: str
    title: str
    note: str
    write: Callable[[float], str]
    published: Callable[[KerasNetwork], float] | None = None
    rising: bool = False

    def text(self, row: Row, missing: str = "-") -> str:
        """For people: `measured (published)`."""
        value, beside = row.known(self.name), row.beside(self.name)
        shown = missing if value is None else self.write(value)
        return shown if beside is None else f"{shown} ({self.printed(beside)})"

    def printed(self, value: float) -> str:
        """A published value with the digits that it was published with."""
        return f"{value / 1e6:g}" if self.name == "parameters" else f"{value:g}"


def _brief(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.3g}"


COLUMNS = (
    Column("input_px", "px", "Side of the image that the network was made for, in pixels.", "{:.0f}".format),
    Column(
        "size_mb",
        "size MB",
        "Parameters and running statistics as float32, in units of 2^20 bytes (published: Keras).",
        _brief,
        lambda row: row.size_mb,
    ),
    Column(
        "top1", "top-1 %", "ImageNet validation accuracy, as published by the source.", "{:.1f}".format, rising=True
    ),
    Column("top5", "top-5 %", "The same, right class among the five likeliest.", "{:.1f}".format, rising=True),
    Column(
        "parameters",
        "params M",
        "Parameters in millions (published: Keras, which counts running statistics in).",
        lambda value: f"{value / 1e6:.1f}" if value >= 1e5 else f"{value / 1e6:.3f}",
        lambda row: round(1e6 * row.params_m),
    ),
    Column(
        "depth",
        "depth",
        "Layers with weights of their own: convolutions, norms, linear layers; ResNet-50: 53 + 53 + 1. Keras says of"
        " its figures that they count layers with parameters; it takes a depthwise-separable convolution as one"
        " layer, which here is two.",
        "{:.0f}".format,
        lambda row: row.depth,
    ),
    Column("gmacs", "GMACs", "10^9 multiply-adds for one image.", _brief),
    Column(
        "ms_cpu",
        "ms CPU",
        "Milliseconds of an inference step on this CPU (published: Keras on 92 cores, batch 32).",
        _brief,
        lambda row: row.ms_cpu,
    ),
    Column(
        "ms_gpu",
        "ms GPU",
        "Milliseconds of an inference step on this GPU (published: Keras on an A100, batch 32).",
        _brief,
        lambda row: row.ms_gpu,
    ),
    Column(
        "peak_mb",
        "peak MB",
        "Peak memory of the process on the CPU, above what it had before the network was built, in units of 2^20 bytes:"
        " weights, activations, scratch space, and the code of kernels used for the first time.",
        _brief,
    ),
    Column("peak_gpu_mb", "peak GPU MB", "The most memory that torch had allocated on the GPU, in 2^20 bytes.", _brief),
)
BY_NAME = {column.name: column for column in COLUMNS}


def row(model: str, found: Mapping[str, Any]) -> Row:
    """A row from what measuring brought; Keras' figures, where it has them, go before others."""
    published = BY_MODEL.get(model)
    values = {name: found[name] for name in BY_NAME if found.get(name) is not None}
    source = str(found.get("source", ""))
    if published is not None:
        values |= {"top1": published.top1, "top5": published.top5}
        source = KERAS
    return Row(model, values, source, published, str(found.get("error", "")))


def check_sort(name: str) -> None:
    """Raises UserError with the nearest names where `--sort` names no column."""
    names = ["model", *BY_NAME]
    if name not in names:
        hint = did_you_mean(name, names, " Did you mean {}?")
        raise UserError(f"--sort {name}: no such column.{hint} Columns: {', '.join(names)}.")


def sort_rows(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows by one column: the best first, or the smallest, and unknown ones last."""
    if name == "model":
        return sorted(rows, key=lambda row: row.model)
    sign = -1 if BY_NAME[name].rising else 1
    unknown = (1, 0.0)
    return sorted(rows, key=lambda row: unknown if (found := row.known(name)) is None else (0, sign * found))


def shown(rows: Sequence[Row]) -> list[Column]:
    """The columns of which something is known; milliseconds that are only published are not."""
    return [column for column in COLUMNS if any(row.known(column.name) is not None for row in rows)]


def notes(rows: Sequence[Row]) -> dict[str, list[str]]:
    """What to say about networks that differ from Keras', each text once, with those that it holds for."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.published is not None and row.published.note:
            found.setdefault(row.published.note, []).append(row.model)
    return found


def frontier(rows: Sequence[Row], cost: str) -> list[Row]:
    """The rows than which none is both at least as accurate and at most as costly, and better in one; cheap first."""
    found = pareto.frontier(rows, lambda row: row.known(cost), lambda row: row.known("top1"))
    return [row for _, row in found]
