"""Read a user's own table of images and labels: what its rows say about each image."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.config.words import count
from headstart.data import folders
from headstart.data.filenames import escape_name
from headstart.data.formats import list_suffixes
from headstart.data.groups import mention_groups
from headstart.data.labels import check_labels
from headstart.data.source import FileImages, Source, Split
from headstart.data.split_columns import choose_split_column, read_part
from headstart.data.table_text import SEPARATORS, ColumnNames, Table, find_column, parse_table, read_text, show_key
from headstart.errors import UserError

log = logging.getLogger(__name__)

NEAR = 100  # folders in which an image that does not exist is looked for


@dataclass(frozen=True)
class Entry:
    """What the table says about one image."""

    where: str
    label: str
    part: str
    group: str


def read_table(path: Path, names: ColumnNames, images: str | None, suffix: str | None) -> Source:
    """Read a table; a UserError names the line or the column that is wrong, and the key that mends it.

    Args:
        images: the folder of the images; None: the table's.
        suffix: added to each image's name that lacks it, or None.
    """
    if not path.is_file():
        raise UserError(f"data.source.path={path}: there is no such file")
    table = parse_table(path, read_text(path), names)
    place = path.parent if images is None else _find_folder(path, images)
    entries = _read_entries(table, names, place, suffix)
    log.info("%s: %d images, cells separated by %s", path, len(entries), SEPARATORS[table.separator])
    source = folders.make_source(
        [(entry.part, entry.label, file) for file, entry in entries.items()],
        str(path),
        str(place),
        advise=lambda file: _advise(path.parent, place, file, suffix),
    )
    if names.group is None:
        others = [name for name in table.header if name not in (names.image, names.label)]
        mention_groups(str(table.path), others, lambda name: table.cells(table.header.index(name)))
        return source
    groups = {file: entry.group for file, entry in entries.items()}
    train, val, test = (_with_groups(split, groups) for split in (source.train, source.val, source.test))
    assert train is not None
    return replace(source, train=train, val=val, test=test)


def _read_entries(table: Table, names: ColumnNames, place: Path, suffix: str | None) -> dict[str, Entry]:
    """What the table says about each image file, by its path; an image that stands there twice is used once."""
    image, label = (find_column(table, getattr(names, key), f"data.source.{key}") for key in ("image", "label"))
    group = None if names.group is None else find_column(table, names.group, "data.group")
    split = _find_split(table, names.split, {column for column in (image, label, group) if column is not None})
    wanted = {"image": image, "label": label, "split": split, "group": group}
    needed = {key: column for key, column in wanted.items() if column is not None}
    entries: dict[str, Entry] = {}
    places: dict[str, str] = {}
    again = 0
    for row, cells in enumerate(_needed_cells(table, needed)):
        where, name = table.where(row), _add_suffix(cells["image"], suffix)
        file = str(place / name)
        part = read_part(cells["split"], where) if split is not None else "train"
        entry = Entry(where, cells["label"], part, cells.get("group", ""))
        known = places.setdefault(os.path.abspath(file), file)  # noqa: PTH100 - b/../a.png is a.png
        if known in entries:
            _check_same(name, entries[known], entry)
            again += 1
        else:
            entries[file] = entry
    check_labels([(entry.where, entry.label) for entry in entries.values()], names.label, str(table.path))
    if again:
        rows = f"{count(again, 'row')} {'repeats' if again == 1 else 'repeat'}"
        log.warning("%s: %s an earlier row's image and label: each image is used once", table.path, rows)
    return entries


def _find_split(table: Table, name: str | None, used: set[int]) -> int | None:
    if name != "auto":
        return None if name is None else find_column(table, name, "data.source.split")
    columns = [set(table.cells(column)) for column in range(len(table.header))]
    return choose_split_column(table.header, columns, str(table.path), used)


def _needed_cells(table: Table, needed: dict[str, int]) -> Iterator[dict[str, str]]:
    columns = {key: table.cells(column) for key, column in needed.items()}
    for row in range(len(table.rows)):
        cells = {key: column[row] for key, column in columns.items()}
        for key, cell in cells.items():
            name = table.header[needed[key]]
            if not cell:
                raise UserError(f"{table.where(row)}: '{name}' is empty; fill it in, or remove the row")
            if "\n" in cell or "\r" in cell:
                raise UserError(f"{table.where(row)}: '{name}' contains a line break: a quote is opened before it")
        yield cells


def _check_same(name: str, first: Entry, second: Entry) -> None:
    for kind, one, other in (
        ("label", first.label, second.label),
        ("part", first.part, second.part),
        ("group", first.group, second.group),
    ):
        if one != other:
            raise UserError(
                f"{second.where}: the image '{escape_name(name)}' has the {kind} '{escape_name(other)}', but "
                f"'{escape_name(one)}' in {first.where.rpartition(', ')[2]}; one {kind} per image is needed"
            )


def _add_suffix(name: str, suffix: str | None) -> str:
    if not suffix:
        return name
    ending = suffix if suffix.startswith(".") else f".{suffix}"
    return name if name.lower().endswith(ending.lower()) else name + ending


def _find_folder(path: Path, images: str) -> Path:
    """The folder of the images, which may be given relative to the working folder or to the table's."""
    found = [place for place in (Path(images), path.parent / images) if place.is_dir()]
    if not found:
        raise UserError(f"data.source.images={images}: there is no such folder, neither here nor beside {path}")
    if len({place.resolve() for place in found}) > 1:
        raise UserError(
            f"data.source.images={images}: there is such a folder here and another beside {path}; "
            f"say which: data.source.images={found[0].resolve()} or {found[1].resolve()}"
        )
    return found[0]


def _advise(beside: Path, place: Path, file: str, suffix: str | None) -> str:
    """What to do if the image of this name lies in another folder near the table, or is written in another way."""
    name = os.path.relpath(file, place)
    for folder in [place, beside, *sorted(entry for entry in beside.iterdir() if entry.is_dir())][:NEAR]:
        for ending in ("", *sorted(list_suffixes())):
            found = str(folder / f"{name}{ending}")
            if os.path.isfile(found):  # noqa: PTH113 Path.is_file raises on a long name
                keys = [show_key("images", str(folder))] if folder != place else []
                keys += [show_key("suffix", ending)] if ending else []
                return f"\n  {escape_name(found)} exists: type {' '.join(keys)}"
    if os.path.isfile(file.replace("\\", "/")):  # noqa: PTH113
        return "\n  They exist if / is written for \\ in the table"
    ending = "" if suffix else " If their names lack an ending: data.source.suffix=.jpg"
    return f"\n  If they lie in another folder: data.source.images=FOLDER.{ending}"


def _with_groups(split: Split | None, groups: dict[str, str]) -> Split | None:
    if split is None:
        return None
    assert isinstance(split.images, FileImages)
    return replace(split, groups=tuple(groups[path] for path in split.images.paths))
