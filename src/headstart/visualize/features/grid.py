"""Make a grid of pictures, one row a layer, beside the real images that excite the same units most."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from headstart.config.paths import make_path
from headstart.data.contact_sheet import name_files
from headstart.data.filenames import escape_name
from headstart.errors import UserError
from headstart.runtime.memory import keep_freed_memory
from headstart.storage.files import write_whole
from headstart.tracking import progress
from headstart.visualize.features.canvas import Palette, make_palette, measure_palette
from headstart.visualize.features.compare import Exemplars, find_exemplars, find_live_channels, measure_pictures
from headstart.visualize.features.optimise import Settings, make_pictures
from headstart.visualize.features.rows import Choice, Row, make_class_row, make_row
from headstart.visualize.features.table import Shown, summarise, write_table
from headstart.visualize.forward import find_refusal
from headstart.visualize.layers import choose_layers, find_layers
from headstart.visualize.naming import name_picture
from headstart.visualize.pool import Pool, find_pool
from headstart.visualize.sheet import Cell, draw_sheet

if TYPE_CHECKING:
    from headstart.predict.network import Network

SIDE = 128  # of pictures for layers, in pixels
SMALLEST, LARGEST = 8, 2048  # of any picture
MOST_COPIES = 64  # pictures of a unit
SMALL = 4  # real images beside each picture
MEASURED = 256  # images whose colours and spectrum are measured


def make_grid(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the pictures that `headstart visualize … features` is asked for; returns the files."""
    _check(options)
    pool = find_pool(network, options.images, options.most)
    side = _choose_side(network, options)
    rows = _choose_rows(network, options, pool, side)
    settings = Settings(
        side=side,
        steps=options.steps,
        palette=_choose_palette(network, pool, side, options),
        copies=options.diverse,
        phases_only=options.maco,
        seed=options.seed,
    )
    exemplars = find_exemplars(network, pool, rows, SMALL) if pool else [None] * len(rows)
    shown: list[list[Shown]] = []
    names = iter(name_files([stem.replace(" ", "-") for row in rows for stem in row.stems]))
    steps = progress.task("features", len(rows) * settings.steps, "steps")
    with steps as work, keep_freed_memory(network.hardware):
        for row, best in zip(rows, exemplars, strict=True):
            files = _make_row(network, row, settings, [folder / "features" / next(names) for _ in row.units], work)
            shown.append(_compare(network, row, files, best, pool, settings.copies))
            print(summarise(row, shown[-1], pool))
    path = name_picture(folder, "features", *_name_call(options, rows))
    with write_whole(path) as part:
        _draw(network, rows, shown, exemplars, pool, folder / "features").save(part, "PNG")
    return [path, write_table(shown, path.with_name(f"{path.stem}.csv"))]


def _check(options: argparse.Namespace) -> None:
    for name, least in (("steps", 1), ("diverse", 1), ("most", 0)):
        if getattr(options, name) < least:
            raise UserError(f"--{name} {getattr(options, name)}: must be at least {least}")
    if options.diverse > MOST_COPIES:
        raise UserError(f"--diverse {options.diverse}: must be at most {MOST_COPIES}, because all are made at once")
    if options.size is not None and not SMALLEST <= options.size <= LARGEST:
        raise UserError(f"--size {options.size}: must be {SMALLEST} to {LARGEST:,}, in pixels")
    if options.classes is not None and (options.layers or options.units or options.objective != "channel"):
        raise UserError("--classes excites the network's outputs: leave --layers, --units and --objective out")
    if options.direction and options.objective != "direction":
        raise UserError("--direction: is of --objective direction, which is not asked for: add it, or leave both out")
    if options.units is not None and options.objective in ("layer", "direction"):
        raise UserError(f"--objective {options.objective}: excites no single channels: leave --units out")
    if options.images is not None and options.most == 0:
        raise UserError("--most 0: looks through no image: leave it out, or --images")


def _choose_side(network: Network, options: argparse.Namespace) -> int:
    """The side of the pictures: the network's own where it takes no smaller one, as networks of fixed size."""
    own = network.image_size
    side: int = options.size or (own if options.classes is not None else min(SIDE, own))
    refusal = find_refusal(network, side) if side != own else None
    if refusal and options.size:
        raise UserError(f"--size {side}: {network.name} takes no images of this size ({refusal}); its own is {own}")
    return own if refusal else side


def _name_call(options: argparse.Namespace, rows: Sequence[Row]) -> list[str]:
    """What a call is of, if not of the default."""
    if options.classes is not None:
        return ["classes"]
    kind = [] if options.objective == "channel" else [options.objective]
    return [*kind, *(row.name for row in rows if options.layers is not None)]


def _choose_palette(network: Network, pool: Pool | None, side: int, options: argparse.Namespace) -> Palette:
    """The colours and the spectrum of the pool's images, at the size of the pictures; else those of ImageNet."""
    import torch
    from torch.nn import functional

    if pool is None:
        if options.maco:
            raise UserError("--maco: needs images, of which it takes the spectrum: those of a run, or --images FOLDER")
        return make_palette()
    numbers = torch.linspace(0, len(pool) - 1, min(MEASURED, len(pool))).long().unique().tolist()
    pixels = functional.interpolate(pool.take(network, numbers).float(), (side, side), mode="area")
    return measure_palette(pixels.round().to(torch.uint8))


def _choose_rows(network: Network, options: argparse.Namespace, pool: Pool | None, side: int) -> list[Row]:
    if options.classes is not None:
        return [make_class_row(network, options.classes)]
    found = find_layers(network, side)
    layers = list({layer.name: layer for layer in choose_layers(found, options.layers)}.values())
    if not layers:  # the network is all head
        return [make_class_row(network, ())]
    live = find_live_channels(network, layers, pool, side) if options.units is None else {}
    direction = make_path(options.direction) if options.direction else None
    choice = Choice(options.objective, options.units, direction, options.seed)
    return [make_row(network, layer, choice, live.get(layer.name, [])) for layer in layers]


def _make_row(network: Network, row: Row, settings: Settings, stems: Sequence[Path], work: progress.Task) -> list[Path]:
    """Make the pictures of a row and write each to a file; the unit's path without an ending is given."""

    def count() -> None:
        work.done += 1

    pictures = make_pictures(network, row.module, row.objective, len(row.units), settings, count=count)
    files = []
    for at, pixels in enumerate(pictures):
        unit, copy = divmod(at, settings.copies)
        name = stems[unit].name
        path = stems[unit].with_name(f"{name}-{copy}.png" if settings.copies > 1 else f"{name}.png")
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


def _draw(
    network: Network,
    rows: Sequence[Row],
    shown: Sequence[Sequence[Shown]],
    exemplars: Sequence[Exemplars | None],
    pool: Pool | None,
    folder: Path,
) -> Image.Image:
    """Draw the sheet of all pictures, which are in the folder."""
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
            words = (escape_name(each.unit), escape_name(each.describe()))
            with Image.open(folder / each.file) as picture:
                cells.append(Cell(picture.convert("RGB"), words, small))
        drawn.append((row.title, cells))
    return draw_sheet(f"{network.name}: what its units respond to", note, drawn)
