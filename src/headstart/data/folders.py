"""Read a user's own images from folders of classes."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from headstart.data.classes import check_names, order_classes
from headstart.data.filenames import escape_name, list_names
from headstart.data.layout import LAYOUTS, Parts, find_parts
from headstart.data.source import Source, file_split
from headstart.data.walk import Unused, find_images, scan
from headstart.errors import UserError

log = logging.getLogger(__name__)

Row = tuple[str, str, str]  # split, class, image path


def read_folder(root: Path, layout: str = "auto") -> Source:
    """Read a folder; UserError for an empty folder or class, for only one class, and for a class that train lacks."""
    if layout not in LAYOUTS:
        raise UserError(f"data.source.layout={layout} is unknown; use one of: {', '.join(LAYOUTS)}")
    try:
        return _read_folder(root, layout)
    except OSError as error:
        where = escape_name(str(error.filename or root))
        raise UserError(f"data.source.root={root}: {where} cannot be read: {error.strerror or error}") from error


def _read_folder(root: Path, layout: str) -> Source:
    if root.is_file():
        raise UserError(f"data.source.root={root}: is a file; a table is read by data=csv data.source.path={root}")
    if not root.is_dir():
        raise UserError(f"data.source.root={root}: there is no such folder")
    top, unused = scan(root), Unused(root)
    if not top.folders:
        problem = "its images are in no class folder" if top.images else "the folder is empty"
        raise UserError(f"{root}: {problem}; make one folder per class, or train/<class>, val/<class>, test/<class>")
    unused.count(top.unused)
    unused.add("images beside the folders of classes or parts", *top.images)
    parts = find_parts(top, layout, unused)
    rows: list[Row] = []
    for split, folders in (parts or {"train": [top]}).items():
        for class_folder in (path for folder in folders for path in folder.folders):
            files = find_images(class_folder, unused)
            if not files and split == "train":
                where = escape_name(str(class_folder))
                raise UserError(
                    f"{where}: no image in this class folder; fill or remove it.{_say_unused(class_folder)}"
                )
            if not files:
                unused.add("folders without an image", class_folder)
            rows += [(split, class_folder.name, path) for path in files]
    unused.warn()
    _log_parts(root, parts, {split for split, _, _ in rows})
    return make_source(rows, str(root), str(root))


def _say_unused(folder: Path) -> str:
    unused = Unused(folder)
    find_images(folder, unused)
    return f" In it:{found}" if (found := str(unused)) else ""


def _log_parts(root: Path, parts: Parts, present: set[str]) -> None:
    """Say which folder is which part, and which parts are cut from train because the folder lacks them."""
    names = [f"{part} = {list_names([f.path.name for f in parts[part]])}" for part in parts if part in present]
    missing = " and ".join(part for part in ("val", "test") if part not in present)
    cut = f"; {missing} will be cut from train" if missing else ""
    log.info("%s: %s%s", escape_name(str(root)), ", ".join(names) or "one folder per class", cut)


def make_source(rows: list[Row], origin: str, root: str, advise: Callable[[str], str] = lambda path: "") -> Source:
    """Make a `Source` of (split, class, path) rows, whose paths lie in `root`.

    `advise` says what to do about an image that does not exist.
    """
    check_names({name for _, name, _ in rows}, origin)
    names = {split: {name for part, name, _ in rows if part == split} for split in ("train", "val", "test")}
    if not names["train"]:
        raise UserError(f"{origin}: no training image")
    for split in ("val", "test"):
        if unknown := sorted(names[split] - names["train"]):
            raise UserError(f"{origin}: classes in {split} but not in train: {list_names(unknown)}")
        if names[split] and (missing := sorted(names["train"] - names[split])):
            log.warning("%s: classes without an image in %s: %s", origin, split, list_names(missing))
    if len(names["train"]) == 1:
        raise UserError(f"{origin}: only one class ('{escape_name(rows[0][1])}'); a classifier needs at least two")
    lost = [path for _, _, path in rows if not os.path.isfile(path)]  # noqa: PTH113 Path.is_file raises on a long name
    if lost:
        shown = "\n  ".join(map(escape_name, lost[:10]))
        raise UserError(f"{origin}: {len(lost)} of {len(rows)} image files do not exist:\n  {shown}{advise(lost[0])}")
    classes = order_classes(names["train"])
    index = {name: i for i, name in enumerate(classes)}
    present = Counter(split for split, _, _ in rows)
    parts = {
        split: file_split(((path, index[name]) for part, name, path in rows if part == split), root)
        for split in present
    }
    return Source(tuple(map(escape_name, classes)), parts["train"], parts.get("val"), parts.get("test"))
