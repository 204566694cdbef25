"""Columns of a set of Hugging Face `datasets`: which one has the images and which one the classes, by their types."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from headstart.data.classes import check_names, order_classes
from headstart.data.filenames import escape_name, list_names
from headstart.data.labels import check_labels
from headstart.data.split_columns import choose_split_column
from headstart.errors import UserError, did_you_mean

log = logging.getLogger(__name__)

LABELS = ("label", "labels", "class", "target", "category")  # usual names of a label column, in lower case


def find_image(path: str, features: Mapping[str, Any], name: str | None) -> str:
    from datasets import Image

    found = [column for column, feature in features.items() if isinstance(feature, Image)]
    if name is not None:
        check_column("data.source.image", name, features)
        if name not in found:
            raise UserError(f"data.source.image={name}: is a column of {_show_type(features[name])}, not of images")
        return name
    if len(found) != 1:
        what = f"several columns of images: {', '.join(found)}" if found else "no column of images"
        hint = f"; choose one: data.source.image={found[0]}" if found else f"; its columns: {_show_columns(features)}"
        raise UserError(f"{path}: the set has {what}{hint}")
    return found[0]


def find_label(path: str, features: Mapping[str, Any], name: str | None) -> str:
    from datasets import ClassLabel

    if name is not None:
        check_column("data.source.label", name, features)
        return _check_one_label("data.source.label=", name, features[name])
    found = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    usual = [column for column in features if column.lower() in LABELS]
    for candidates in ([column for column in found if column in usual], found, usual):
        if len(candidates) == 1:
            return _check_one_label(f"{path}: column ", candidates[0], features[candidates[0]])
    raise UserError(f"{path}: which column has the labels? data.source.label=NAME, one of: {_show_columns(features)}")


def _check_one_label(prefix: str, name: str, feature: Any) -> str:
    """Return the name of a column that has one label a row; refuse lists, numbers with fractions and images."""
    from datasets import ClassLabel

    dtype = str(getattr(feature, "dtype", ""))
    if isinstance(feature, ClassLabel) or dtype.startswith(("int", "uint", "string", "large_string", "bool")):
        return name
    if isinstance(feature, list) or type(feature).__name__ in ("List", "LargeList", "Sequence"):
        raise UserError(f"{prefix}{name}: has several labels per image ({_show_type(feature)}); one is needed")
    raise UserError(f"{prefix}{name}: is a column of {_show_type(feature)}, not of classes, numbers or texts")


def check_column(key: str, name: str, features: Mapping[str, Any]) -> str:
    """Return the name of a column; UserError if there is none."""
    check_known(key, name, list(features), "column")
    return name


def check_known(key: str, name: str, known: Iterable[str], kind: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UserError(f"{key}={name}: there is no such {kind}{hint}")


def _show_columns(features: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({_show_type(feature)})" for name, feature in list(features.items())[:20])


def _show_type(feature: Any) -> str:
    kind = type(feature).__name__
    return str(feature.dtype) if kind == "Value" else kind


def read_column(path: str, table: Any, column: str) -> list[Any]:
    if column not in table.features:
        raise UserError(f"{path}: a split lacks the column '{column}'; it has {_show_columns(table.features)}")
    return list(table.select_columns([column])[:][column])


def find_split_column(path: str, table: Any, name: str | None, used: set[str | None]) -> str | None:
    """The column that names the part of each image; None if there is none. `name` is as for a table of text."""
    features = table.features
    if name != "auto":
        return name if name is None else check_column("data.source.split", name, features)
    texts = [column for column in features if _is_text(features[column]) and column not in used]
    cells = [{*_show_cells(features[column], table.unique(column))} for column in texts]
    place = choose_split_column(texts, cells, path, set())
    return None if place is None else texts[place]


def _is_text(feature: Any) -> bool:
    """Whether a column holds texts, or numbers or truth values that may stand for them."""
    return hasattr(feature, "names") or str(getattr(feature, "dtype", "")).startswith(("string", "int", "bool"))


def list_texts(table: Any, column: str) -> list[str]:
    """The cells of a column as texts, row by row; names of classes stand for their numbers."""
    return _show_cells(table.features[column], table.select_columns([column])[:][column])


def _show_cells(feature: Any, cells: Iterable[Any]) -> list[str]:
    names = getattr(feature, "names", None)
    return [str(names[cell] if names and cell is not None and cell >= 0 else cell) for cell in cells]


def is_unlabelled(feature: Any, value: Any) -> bool:
    """Whether a cell of a label column says that the label is kept secret."""
    from datasets import ClassLabel

    return value is None or (isinstance(feature, ClassLabel) and value == -1)


def index_labels(
    path: str, features: Mapping[str, Any], cells: Mapping[str, list[Any]]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The classes, and the labels of each part as their places, int64; says in which order the classes are."""
    from datasets import ClassLabel

    for part, values in cells.items():
        if lacking := sum(is_unlabelled(features[part], value) for value in values):
            raise UserError(f"{path}: {lacking} of {len(values)} images in {part} have no label; leave them out")
    feature = features["train"]
    if isinstance(feature, ClassLabel):
        if any(getattr(other, "names", None) != feature.names for other in features.values()):
            raise UserError(f"{path}: the splits name different classes; give them one list of names")
        check_names(feature.names, path)
        log.info("%s: classes are in the order of the set's own names", path)
        return tuple(map(escape_name, feature.names)), {p: np.array(v, dtype=np.int64) for p, v in cells.items()}
    return _order_texts(path, {part: [str(value) for value in values] for part, values in cells.items()})


def _order_texts(path: str, texts: Mapping[str, list[str]]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    check_names({text for values in texts.values() for text in values}, path)
    classes = order_classes(texts["train"])
    place = {name: at for at, name in enumerate(classes)}
    for part, values in texts.items():
        check_labels([(f"{path}, row {row} of {part}", text) for row, text in enumerate(values)], "label", path)
        if strange := order_classes(set(values) - set(classes)):
            raise UserError(f"{path}: classes in {part} but not in train: {list_names(strange)}")
    log.info("%s: classes are in headstart's order: numbers by value, other names by their text", path)
    labels = {part: np.array([place[text] for text in values], dtype=np.int64) for part, values in texts.items()}
    return tuple(map(escape_name, classes)), labels
