"""Read a set of Hugging Face `datasets`: from the hub, or from a local folder of parquet files or of `save_to_disk`."""

from __future__ import annotations

import hashlib
import io
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headstart.config.paths import make_path
from headstart.data.filenames import escape_name
from headstart.data.groups import mention_groups
from headstart.data.hf_columns import (
    check_column,
    check_known,
    find_image,
    find_label,
    find_split_column,
    index_labels,
    is_unlabelled,
    list_texts,
    read_column,
)
from headstart.data.offline import may_download
from headstart.data.part_names import find_part
from headstart.data.source import Source, Split
from headstart.data.split_columns import read_part
from headstart.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """The names of columns that a user gives; None: found by their types."""

    image: str | None = None
    label: str | None = None
    group: str | None = None
    split: str | None = "auto"


@dataclass(frozen=True)
class HubImages:
    """Images of one column, whose bytes are read from disk when an image is used."""

    table: Any  # datasets.Dataset with this column alone, not decoded
    column: str
    pixel_range: tuple[float, float] | None = None  # of 16-bit and floating-point images; see `data.pixel_range`
    encoded: ClassVar[bool] = True  # see `headstart.data.source.is_encoded`

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int, /) -> Image:
        from PIL import Image as pillow

        from headstart.data.deep import use_range

        return use_range(pillow.open(io.BytesIO(self.raw(index))), self.pixel_range)

    def raw(self, index: int, /) -> bytes:
        cell = self.table[index][self.column]
        if cell is None or (cell["bytes"] is None and not cell["path"]):
            raise UserError(f"row {index}, column '{self.column}': there is no image")
        if cell["bytes"] is not None:
            return bytes(cell["bytes"])
        try:
            return Path(cell["path"]).read_bytes()
        except OSError as error:
            raise UserError(f"image file {escape_name(cell['path'])} cannot be read: {error.strerror}") from error


def read(path: str, columns: Columns, named: Mapping[str, str | None], config: str | None, rev: str | None) -> Source:
    """Read a set by its name on the hub or its folder; UserError says which key settles what is not sure.

    Args:
        named: the name of the set's split for train, val and test; None: found by its name.
        config: the configuration of the set (`name` of `datasets.load_dataset`).
        rev: the revision on the hub.
    """
    tables = _divide(path, _load(path, config, rev), columns)
    parts = _find_parts(path, list(tables), named)
    first = tables[parts["train"]]
    image, label = find_image(path, first.features, columns.image), find_label(path, first.features, columns.label)
    if columns.group is not None:
        check_column("data.group", columns.group, first.features)
    else:
        others = [name for name in first.features if name not in (image, label)]
        mention_groups(path, others, lambda name: read_column(path, first, name))
    log.info("%s: images in column '%s', labels in '%s', %s", path, image, label, _show_parts(parts))
    cells = {part: read_column(path, tables[name], label) for part, name in parts.items()}
    features = {part: tables[name].features[label] for part, name in parts.items()}
    for part in ("val", "test"):
        if part in cells and all(is_unlabelled(features[part], value) for value in cells[part]):
            log.warning("%s: split '%s' has no labels and is not used; %s is cut from train", path, parts[part], part)
            del parts[part], cells[part], features[part]
    classes, labels = index_labels(path, features, cells)
    splits = {part: _make_split(tables[parts[part]], image, labels[part], parts[part], columns.group) for part in parts}
    return Source(classes, splits["train"], splits.get("val"), splits.get("test"))


def _load(path: str, config: str | None, revision: str | None) -> dict[str, Any]:
    """The tables of a set by the names of its splits."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "data=hf_datasets needs the package datasets, which is not installed: pip install 'headstart[hf]'"
        ) from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    folder = make_path(path)
    if not folder.exists() and not may_download() and not datasets.config.HF_HUB_OFFLINE:
        raise UserError(f"{path}: this set is read from the hub, which is not asked here")
    try:
        if folder.is_dir() and any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(str(folder))
        elif folder.is_file():
            found = datasets.load_dataset("parquet", data_files=str(folder), **_state([folder]))
        elif folder.is_dir():
            found = datasets.load_dataset(str(folder), config, **_state(folder.rglob("*")))
        else:
            found = datasets.load_dataset(path, config, revision=revision)
    except Exception as error:  # readers of tables and of the hub raise many kinds of errors
        raise UserError(_explain(path, folder, error)) from error
    if isinstance(found, datasets.Dataset):
        return {"train": found}
    return dict(found)


def _divide(path: str, tables: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The tables of the parts, where the only table of a set has a column that names them."""
    if len(tables) > 1:
        return tables
    (table,) = tables.values()
    column = find_split_column(path, table, columns.split, {columns.image, columns.label, columns.group})
    if column is None:
        return tables
    parts = np.array([read_part(text, f"{path}, row {row}") for row, text in enumerate(list_texts(table, column))])
    rows = {part: np.flatnonzero(parts == part) for part in ("train", "val", "test")}
    return {part: table.select(some) for part, some in rows.items() if len(some)}


def _state(files: Iterable[Path]) -> dict[str, str]:
    """An argument by which datasets' own cache knows changed files, which it knows by one of their times alone."""
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(files):
        status = file.stat()
        total.update(f"{file} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}\n".encode())
    return {"description": total.hexdigest()}


def _explain(path: str, folder: Path, error: Exception) -> str:
    reason = escape_name(str(error).strip().partition("\n")[0] or type(error).__name__)
    if folder.exists():
        return f"data.source.path={path} cannot be read by datasets: {reason}"
    if "Config name is missing" in reason or "BuilderConfig" in reason:
        shown = " ".join(str(error).split())
        return f"data.source.path={path}: {shown}; choose one by data.source.config=NAME"
    return (
        f"data.source.path={path}: there is no such folder, and the set was not fetched from the hub ({reason}). "
        "For a machine without network: fetch it elsewhere with datasets.load_dataset(...).save_to_disk('FOLDER'), "
        "copy that folder, and set data.source.path=FOLDER"
    )


def _find_parts(path: str, names: list[str], named: Mapping[str, str | None]) -> dict[str, str]:
    """The set's split for each part that it has."""
    parts: dict[str, str] = {}
    for part, name in named.items():
        if name is not None:
            check_known(f"data.source.{part}", name, names, "split")
            parts[part] = name
    if len(set(parts.values())) < len(parts):
        raise UserError(f"{path}: one split cannot be two parts: {_show_parts(parts)}")
    unused = []
    for other in [name for name in names if name not in parts.values()]:
        meant = find_part(other)
        if meant is None or named.get(meant) is not None:
            unused.append(other)
        elif meant in parts:
            raise UserError(
                f"{path}: the splits '{parts[meant]}' and '{other}' could both be {meant}; say which: "
                f"data.source.{meant}={other}"
            )
        else:
            parts[meant] = other
    if "train" not in parts:
        raise UserError(f"{path}: which split is for training? data.source.train=NAME, one of: {', '.join(names)}")
    if unused:
        log.warning("%s: these splits are not used: %s", path, ", ".join(unused))
    return parts


def _show_parts(parts: Mapping[str, str]) -> str:
    shown = ", ".join(f"{part} = {name}" for part, name in parts.items())
    missing = " and ".join(part for part in ("val", "test") if part not in parts)
    return shown + f"; {missing} will be cut from train" * bool(missing)


def _make_split(table: Any, image: str, labels: np.ndarray, name: str, group: str | None) -> Split:
    from datasets import Image

    images = HubImages(table.select_columns([image]).cast_column(image, Image(decode=False)), image)
    groups = None if group is None else tuple(map(str, read_column(name, table, group)))
    return Split(images, labels, [f"{name}[{row}]" for row in range(len(labels))], groups=groups)
