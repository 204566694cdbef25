"""Make a grid of pictures, one row a layer, beside the real images that excite the same units most."""

from __future__ import annotations

import argparse
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from PIL import Image

from headstart.errors import UserError
from headstart.runtime.memory import keep_freed_memory
from headstart.storage.files import write_text, write_whole
from headstart.tracking import progress
from headstart.visualize.features.canvas import Palette, make_palette, measure_palette
from headstart.visualize.features.compare import Exemplars, find_exemplars, find_live_channels, measure_pictures
from headstart.visualize.features.optimise import Settings, make_pictures
from headstart.visualize.features.rows import Choice, Row, make_class_row, make_row
from headstart.visualize.layers import choose_layers, find_layers
from headstart.visualize.pool import Pool, find_pool
from headstart.visualize.sheet import Cell, draw_sheet

if TYPE_CHECKING:
    from headstart.predict.network import Network

SIDE = 128  # of pictures for layers, in pixels
SMALL = 4  # real images beside each picture
MEASURED = 256  # images whose colours and spectrum are measured


@dataclass(frozen=True)
class Shown:
    """A unit's picture, and what it was compared with; the fields are the columns of features.csv.

    Attributes:
        layer: name of the layer, `classes` for a class.
        file: name of the picture.
        score: how strongly the picture excites the unit, read back from the file.
        best: how strongly the best real image does; None: there are none.
        image: the name of this image.
        compared: how many images there are.
        prediction: for a class, what the network answers to the file.
        probability: of this answer.
    """

    layer: str
    unit: str
    file: str
    score: float
    best: float | None = None
    image: str = ""
    compared: int = 0
    prediction: str = ""
    probability: float | None = None

    def describe(self) -> str:
        """The score, beside that of the best image."""
        if self.prediction:
            return f"seen as {self.prediction}" + (f" {self.probability:.0%}" if self.probability else "")
        return f"{self.score:.3g}" if self.best is None else f"{self.score:.3g}; best image {self.best:.3g}"


def make_grid(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the pictures that `headstart visualize … features` is asked for; returns the files."""
    _check(options)
    pool = find_pool(network, options.images, options.most)
    rows = _choose_rows(network, options, pool)
    settings = Settings(
        side=_choose_side(network, options),
        steps=options.steps,
        palette=_choose_palette(network, pool, options),
        copies=options.diverse,
        phases_only=options.maco,
        seed=options.seed,
    )
    exemplars = find_exemplars(network, pool, rows, SMALL) if pool else [None] * len(rows)
    shown: list[list[Shown]] = []
    steps = progress.task("features", len(rows) * settings.steps, "steps")
    with steps as work, keep_freed_memory(network.hardware):
        for row, best in zip(rows, exemplars, strict=True):
            files = _make_row(network, row, settings, folder / "features", work)
            shown.append(_compare(network, row, files, best, pool, settings.copies))
            print(_summarise(row, shown[-1], pool))
    sheet = _draw(network, rows, shown, exemplars, pool, folder)
    return [sheet, _write_table(shown, folder)]


def _check(options: argparse.Namespace) -> None:
    for name, least in (("steps", 1), ("diverse", 1), ("most", 0)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)}: must be at least {least}")
    if options.size is not None and options.size < 8:
        raise UserError(f"--size {options.size}: must be at least 8")
    if options.classes is not None and (options.layers or options.units or options.objective != "channel"):
        raise UserError("--classes excites the network's outputs: leave --layers, --units and --objective out")


def _choose_side(network: Network, options: argparse.Namespace) -> int:
    own = network.image_size
    return options.size or (own if options.classes is not None else min(SIDE, own))


def _choose_palette(network: Network, pool: Pool | None, options: argparse.Namespace) -> Palette:
    """The colours and the spectrum of the pool's images, at the size of the pictures; else those of ImageNet."""
    import torch
    from torch.nn import functional

    if pool is None:
        if options.maco:
            raise UserError("--maco: needs images, of which it takes the spectrum: those of a run, or --images FOLDER")
        return make_palette()
    side = _choose_side(network, options)
    numbers = torch.linspace(0, len(pool) - 1, min(MEASURED, len(pool))).long().unique().tolist()
    pixels = functional.interpolate(pool.take(network, numbers).float(), (side, side), mode="area")
    return measure_palette(pixels.round().to(torch.uint8))


def _choose_rows(network: Network, options: argparse.Namespace, pool: Pool | None) -> list[Row]:
    if options.classes is not None:
        return [make_class_row(network, options.classes)]
    side = _choose_side(network, options)
    found = find_layers(network, side)
    layers = list({layer.name: layer for layer in choose_layers(found, options.layers)}.values())
    if not layers:  # the network is all head
        return [make_class_row(network, ())]
    live = find_live_channels(network, layers, pool, side) if options.units is None else {}
    direction = Path(options.direction).expanduser() if options.direction else None
    choice = Choice(options.objective, options.units, direction, options.seed)
    return [make_row(network, layer, choice, live.get(layer.name, [])) for layer in layers]


def _make_row(network: Network, row: Row, settings: Settings, folder: Path, work: progress.Task) -> list[Path]:
    """Make the pictures of a row and write each to a file."""

    def count() -> None:
        work.done += 1

    pictures = make_pictures(network, row.module, row.objective, len(row.units), settings, count=count)
    files = []
    for at, pixels in enumerate(pictures):
        unit, copy = divmod(at, settings.copies)
        name = re.sub(r"[^\w.]+", "-", f"{row.name} {row.units[unit]}").strip("-.")[:100]
        path = folder / (f"{name}-{copy}.png" if settings.copies > 1 else f"{name}.png")
        with write_whole(path) as part:
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(part, "PNG")
        files.append(path)
    return files


def _compare(
    network: Network, row: Row, files: Sequence[Path], best: Exemplars | None, pool: Pool | None, copies: int
) -> list[Shown]:
    """Measure the files of a row, beside the best of the real images."""
    answers = network.predict(files, top=1) if row.classes else [None] * len(files)
    shown = []
    for at, (file, score, answer) in enumerate(
        zip(files, measure_pictures(network, row, files, copies), answers, strict=True)
    ):
        unit = at // copies
        shown.append(
            Shown(
                layer=row.name,
                unit=row.units[unit],
                file=file.name,
                score=score,
                best=float(best.scores[unit, 0]) if best else None,
                image=pool.name(best.numbers[unit][0]) if best and pool else "",
                compared=len(pool) if pool else 0,
                prediction=answer.labels[0] if answer else "",
                probability=answer.probabilities[0] if answer else None,
            )
        )
    return shown


def _summarise(row: Row, shown: Sequence[Shown], pool: Pool | None) -> str:
    """One line on a row: how many pictures excite their unit more than any real image."""
    if row.classes:
        right = sum(each.prediction == each.unit for each in shown)
        return f"{row.title}: the network answers {right} of {len(shown)} pictures with their class"
    if pool is None:
        return f"{row.title}: {len(shown)} pictures"
    pairs = [(each.score, each.best) for each in shown if each.best is not None]
    above = sum(score > best for score, best in pairs)
    ratios = [score / best for score, best in pairs if best > 0]
    times = f", {median(ratios):.1f} times the best image (median)" if ratios else ""
    return f"{row.title}: {above} of {len(shown)} pictures above each of {pool.describe()}{times}"


def _draw(
    network: Network,
    rows: Sequence[Row],
    shown: Sequence[Sequence[Shown]],
    exemplars: Sequence[Exemplars | None],
    pool: Pool | None,
    folder: Path,
) -> Path:
    """Draw the sheet of all pictures."""
    note = "each picture is made to excite one unit most"
    if pool is not None:
        note += f"; beside it the images that do so most, of {pool.describe()}"
    drawn = []
    for row, pictures, best in zip(rows, shown, exemplars, strict=True):
        copies = len(pictures) // len(row.units)
        cells = []
        for at, each in enumerate(pictures):
            small: tuple[Image.Image, ...] = ()
            if best is not None and pool is not None:
                taken = pool.take(network, best.numbers[at // copies])
                small = tuple(Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in taken)
            with Image.open(folder / "features" / each.file) as picture:
                cells.append(Cell(picture.convert("RGB"), (each.unit, each.describe()), small))
        drawn.append((row.title, cells))
    path = folder / "features.png"
    with write_whole(path) as part:
        draw_sheet(f"{network.name}: what its units respond to", note, drawn).save(part, "PNG")
    return path


def _write_table(shown: Sequence[Sequence[Shown]], folder: Path) -> Path:
    """Write what was measured to a table."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(Shown.__dataclass_fields__), lineterminator="\n")
    table.writeheader()
    table.writerows(vars(each) for row in shown for each in row)
    write_text(folder / "features.csv", text.getvalue())
    return folder / "features.csv"
