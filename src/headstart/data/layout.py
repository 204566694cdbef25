"""Which folders of a data set are its parts (train, val, test), and which are its classes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from headstart.config.words import count
from headstart.data.filenames import escape_name, list_names
from headstart.data.part_names import find_part, find_part_word
from headstart.data.walk import Folder, Unused, find_images, scan
from headstart.errors import UserError

LAYOUTS = ("auto", "splits", "classes")
SHOWN = 10

Parts = dict[str, list[Folder]]  # the folders of each part; more than one only where the user said so


@dataclass(frozen=True)
class Tree:
    """The root of a data set, the folders in it, and which part the name of each means (None: of none)."""

    root: Folder
    children: list[Folder]
    parts: list[str | None]

    def of(self, part: str) -> list[Folder]:
        """The folders whose names mean this part."""
        return [child for child, meant in zip(self.children, self.parts, strict=True) if meant == part]

    @property
    def others(self) -> list[Folder]:
        """The folders whose names mean no part."""
        return [child for child, meant in zip(self.children, self.parts, strict=True) if meant is None]


def find_parts(root: Folder, layout: str, unused: Unused) -> Parts:
    """Find the part folders in a root that has folders; empty if these are classes.

    Args:
        layout: `splits` or `classes` says what the folders are; `auto` decides by names and contents.
        unused: gets what is left out.

    Raises:
        UserError: `auto`, and the folders can be understood in two ways; or there is no part train.
    """
    if layout == "classes":
        return {}
    children = [scan(path) for path in root.folders]
    parts = [find_part(child.path.name) for child in children]
    if layout == "splits":  # words beside the part's own are accepted where no other folder has the plain name
        parts = [part or _only_word(child, parts) for child, part in zip(children, parts, strict=True)]
    tree = Tree(root, children, parts)
    if layout == "auto":
        _check_nested_parts(tree)
        if not any(parts):
            _check_classes(tree)
            return {}
        _check_parts(tree)
    return _choose_parts(tree, unused)


def _only_word(child: Folder, plain: list[str | None]) -> str | None:
    part = find_part_word(child.path.name)
    return None if part in plain else part


def _check_nested_parts(tree: Tree) -> None:
    """Refuse a folder that has parts in it: `cat/train`, `cat/test`, or a root that is one folder too high."""
    if len(tree.children) == 1 and len((only := tree.children[0]).folders) > 1 and not any(tree.parts):
        raise UserError(
            f"data.source.root={_show(tree.root)} has only the folder {_quote(only)}, and this has the folders"
            f" {list_names([path.name for path in only.folders])}; type data.source.root={_show(only)}"
        )
    for child in tree.children:
        inside = [path.name for path in child.folders if find_part(path.name)]
        if len({find_part(name) for name in inside}) > 1:
            hint = f"if these are the parts of the whole set, type data.source.root={_show(child)}"
            _ask(
                tree,
                f"{_quote(child)} has the folders {list_names(inside)} in it; {hint}",
                f"; the images of {list_names(inside)} in it are joined, and new parts are cut",
            )


def _check_classes(tree: Tree) -> None:
    """Refuse folders without a part's name that look like parts all the same: by a word, or by the same subfolders."""
    nested = [child for child in tree.children if child.folders and not child.images]
    words = {find_part_word(child.path.name) for child in nested} - {None}
    if len(words) > 1:
        _ask(tree, f"the names look like {list_names(sorted(map(str, words)))}, but have other words in them")
    names = [(child, {path.name for path in child.folders}) for child in nested]
    for (one, inside), (other, inside_other) in combinations(names, 2):
        if len(shared := sorted(inside & inside_other)) > 1:
            _ask(tree, f"{_quote(one)} and {_quote(other)} have folders of the same names: {list_names(shared)}")


def _check_parts(tree: Tree) -> None:
    """Refuse folders of which one at least is called like a part, if they can be classes too."""
    train = [_unwrap(child) for child in tree.of("train")]
    classes = {path.name for child in train for path in child.folders}
    if not train:
        named = [child.path.name for child in tree.children if child not in tree.others]
        if not tree.others:
            raise UserError(f"{_show(tree.root)} has the folder {list_names(named)} but no folder train")
        _ask(tree, f"{list_names(named)} is called like a part, but no folder is called train")
    if not classes:
        if tree.others:
            _ask(tree, f"{_quote(train[0])} is called like a part, but has no class folders in it")
        _refuse_flat(tree)
    for part in ("train", "val", "test"):
        if len(same := tree.of(part)) > 1:
            names = list_names([folder.path.name for folder in same])
            _ask(tree, f"{len(same)} folders are called like the part {part}: {names}")
    held_out = [_unwrap(child) for part in ("val", "test") for child in tree.of(part)]
    sure = any(path.name in classes for child in held_out for path in child.folders)
    for other in tree.others:
        shared = sorted(classes.intersection(path.name for path in other.folders))
        if shared:
            _ask(
                tree,
                f"{_quote(other)} has class folders of train in it ({list_names(shared)}), but its name is no part's",
            )
        if not sure and find_images(other.path, Unused(other.path)):
            _ask(tree, f"{_quote(other)} has images too, but its name is no part's")


def _choose_parts(tree: Tree, unused: Unused) -> Parts:
    """The folders of each part that has class folders; the others are noted as unused."""
    chosen: Parts = {}
    for part in ("train", "val", "test"):
        for child in map(_unwrap, tree.of(part)):
            name = escape_name(str(child.path.relative_to(tree.root.path)))
            if child.folders:
                chosen.setdefault(part, []).append(child)
                unused.add(f"images in {name}, but in none of its class folders", *child.images)
            elif child.images:
                unused.add(f"images in {name}, which has no class folders, so that they have no label", *child.images)
            else:
                unused.add("empty folders", child.path)
            unused.count(child.unused)
    for child in tree.others:
        images = find_images(child.path, unused)
        unused.add(f"images in {_quote(child)}, which is not called like train, val or test", *images)
        if not images:
            unused.add("folders without an image", child.path)
    if "train" not in chosen:
        if tree.of("train"):
            _refuse_flat(tree)
        names = list_names([child.path.name for child in tree.children])
        raise UserError(f"data.source.layout=splits: {_show(tree.root)} has no folder called train (found: {names})")
    return chosen


def _unwrap(folder: Folder) -> Folder:
    """A part folder, or the only folder in it if that has the same name: archives are often packed as `test/test/…`."""
    if len(folder.folders) == 1 and not folder.images:
        inside = folder.folders[0].name
        part = find_part(inside) or find_part_word(inside)
        if part and part == (find_part(folder.path.name) or find_part_word(folder.path.name)):
            return scan(folder.folders[0])
    return folder


def _refuse_flat(tree: Tree) -> None:
    train = _unwrap(tree.of("train")[0])
    what = f"no class folder holds its {count(len(train.images), 'image')}" if train.images else "the folder is empty"
    raise UserError(
        f"{_show(train)}: {what}; make one folder per class in it. If a table has the labels:"
        " data=csv data.source.path=FILE.csv"
    )


def _ask(tree: Tree, reason: str, joined: str = "") -> None:
    """Refuse because the folders can be understood in two ways; the message has what was seen, and the keys."""
    seen = "".join(f"\n    {_describe(child)}" for child in tree.children[:SHOWN])
    more = f"\n    … and {len(tree.children) - SHOWN} more" * (len(tree.children) > SHOWN)
    splits = "if they are parts: call them train, val and test"
    if "train" in (*tree.parts, *(find_part_word(child.path.name) for child in tree.children)):
        splits = (
            "data.source.layout=splits: those that are called like train, val or test are these parts, folders of one"
            " part are joined, and others are left out"
        )
    raise UserError(
        f"data.source.root={_show(tree.root)}: it is not clear whether the folders in it are classes, or the parts"
        f" train, val and test: {reason}.{seen}{more}\n"
        f"  data.source.layout=classes: each of these folders is a class{joined}\n  {splits}"
    )


def _describe(child: Folder) -> str:
    content = [f"folders {list_names([path.name for path in child.folders])}"] if child.folders else []
    content += [count(len(child.images), "image")] if child.images else []
    return f"{_quote(child)}: {' and '.join(content) or 'no images'}"


def _quote(folder: Folder) -> str:
    return escape_name(folder.path.name)


def _show(folder: Folder) -> str:
    return escape_name(str(folder.path))
