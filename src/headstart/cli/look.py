"""Read the data of a config, print what they are, and write tables and pictures of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.data_words import Request, list_roots
from headstart.config.paths import make_path
from headstart.config.schema import mixes
from headstart.data.filenames import escape_name
from headstart.errors import UserError
from headstart.storage.plain_text import plain_row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from headstart.cli.suspects import Findings
    from headstart.config.schema import RunConfig
    from headstart.data.dataset import Data
    from headstart.data.summary import Problem, Summary

MOST_SHOWN, FEW = 40, 10  # classes in the terminal: all, or so many of the largest and of the smallest
OURS = {"summary.txt", "classes.csv", "problems.csv", "classes", "augmented.png", "suspects.csv", "suspects.png"}
WIDTH = 120  # of summary.txt, and where the output is no terminal


@dataclass(frozen=True)
class View:
    """What is shown: sentences before and after the table of classes."""

    before: list[str]
    after: list[str]
    summary: Summary

    def show(self, console: Console) -> None:
        """Print the sentences and the table."""
        for line in self.before:
            console.print(line, soft_wrap=True)
        console.print(_make_table(self.summary))
        for line in self.after:
            console.print(line, soft_wrap=True)


def choose_folder(request: Request, out: Path | None) -> Path:
    """The folder of the files; UserError if it holds other files, or lies among the images that are read."""
    from headstart.data.contact_sheet import name_files

    default = make_path(request.config.output_dir) / "data" / name_files([request.name])[0]
    folder = default if out is None else make_path(out)
    real = folder.resolve()
    for root in list_roots(request.config.data.source):
        if root.is_dir() and real.is_relative_to(root):
            raise UserError(f"{folder} lies in {root}, whose images are read: let --out name a folder elsewhere")
    if real.exists() and not (real.is_dir() and {entry.name for entry in real.iterdir()} <= OURS):
        raise UserError(f"{folder} holds other files, which would be lost: let --out name a new folder")
    return real if folder.is_symlink() else folder


def look(request: Request, folder: Path, said: io.StringIO, *, pictures: bool, suspects: bool = False) -> None:
    """Read the data, print what they are, and put the files into `folder`, all of them or none.

    Args:
        said: what the readers have reported, which is in the terminal already; it goes into summary.txt too.
        suspects: look for probable label errors too.
    """
    from rich.console import Console

    from headstart.config import own_code
    from headstart.data.summary import Summary
    from headstart.models import preprocessing
    from headstart.report.page.write import replace_folder
    from headstart.storage.files import make_folder
    from headstart.train import prepare_data

    make_folder(folder.parent, "--out")
    config = request.config
    own_code.load(config.imports or ())
    spec = preprocessing.expected_input(preprocessing.adopt(config.model))
    data = prepare_data(config, spec)
    left_out = said.getvalue()
    summary = Summary(data)
    data.parts.update(summary.readable)  # what follows decodes images
    view = _describe(request, data, summary)
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    view.show(console)
    with replace_folder(folder, "What was found") as new:
        damaged = _draw(request, data, spec, new) if pictures else []
        for problem in damaged:
            console.print(f"{problem.kind}: {problem.image}: {problem.detail}", soft_wrap=True)
        _write_tables(summary, damaged, new)
        found = _find_suspects(config, data, spec, new, pictures=pictures) if suspects else None
        if found is not None:
            found.show(console)
        with (new / "summary.txt").open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(left_out)
            plain = Console(file=file, width=WIDTH, highlight=False, markup=False, emoji=False)
            view.show(plain)
            if found is not None:
                found.show(plain)
    console.print(f"files: {folder}", soft_wrap=True)


def _describe(request: Request, data: Data, summary: Summary) -> View:
    from headstart.data.summary import describe_choice

    config = request.config
    parts = " + ".join(f"{len(part):,} {name}" for name, part in summary.parts.items())
    return View(
        before=[
            f"{escape_name(request.name)}: {len(data.classes):,} classes, {parts} images",
            describe_choice(config.data),
        ],
        after=[
            *summary.describe_images(),
            f"{config.model.name} sees {data.image_size} px, cut from squares of {data.stored_size} px",
            *(f"  {words}" for words in data.adaptations),
            *(["augment.mixup and augment.cutmix mix whole batches: no picture shows this"] * mixes(config.augment)),
            *summary.describe_problems(),
        ],
        summary=summary,
    )


def _find_suspects(config: RunConfig, data: Data, spec: Any, folder: Path, *, pictures: bool) -> Findings:
    """Find probable label errors, and write them; after all else, because it takes unreadable images out of `data`."""
    from headstart.cli.suspects import HEADINGS, find

    found = find(config, data, spec)
    _write(folder / "suspects.csv", HEADINGS, found.tabulate())
    if pictures:
        found.draw(folder / "suspects.png")
    return found


def _make_table(summary: Summary) -> Table:
    """Images of each class in each part; of many classes the largest and the smallest."""
    from rich.table import Table
    from rich.text import Text

    from headstart.data.summary import choose_rows

    totals = summary.counts.sum(1).tolist()
    shown, hidden = choose_rows(totals, MOST_SHOWN, FEW)
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in (*summary.parts, "all"):
        table.add_column(name, justify="right")
    for place, row in enumerate(shown):
        if hidden and place == FEW:
            table.add_row(f"… {hidden:,} more classes, see classes.csv", *["…"] * (len(summary.parts) + 1))
        numbers = [*summary.counts[row].tolist(), totals[row]]
        table.add_row(Text(escape_name(summary.classes[row])), *(f"{number:,}" for number in numbers))
    return table


def _draw(request: Request, data: Data, spec: Any, folder: Path) -> list[Problem]:
    """Draw the pictures; returns the images that could not be decoded."""
    from headstart.data.augment import Preprocess
    from headstart.data.contact_sheet import write_augmented, write_sheets

    config = request.config
    damaged = write_sheets(data, folder / "classes")
    preprocess = Preprocess(data.image_size, spec.mean, spec.std, config.augment)
    write_augmented(data, preprocess, folder / "augmented.png", config.seed)
    return damaged


def _write_tables(summary: Summary, damaged: Sequence[Problem], folder: Path) -> None:
    rows = [
        [name, *numbers, sum(numbers)] for name, numbers in zip(summary.classes, summary.counts.tolist(), strict=True)
    ]
    _write(folder / "classes.csv", ["class", *summary.parts, "all"], rows)
    problems = [[problem.kind, problem.image, problem.detail] for problem in (*summary.problems, *damaged)]
    if problems:
        _write(folder / "problems.csv", ["problem", "image", "other image or reason"], problems)


def _write(path: Path, headings: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(headings)
        writer.writerows(map(plain_row, rows))
