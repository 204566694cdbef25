"""Names that the subjects share: of files, and of classes as a user types them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.data.contact_sheet import name_files
from headstart.errors import UserError, did_you_mean


def name_picture(folder: Path, *words: str) -> Path:
    """The PNG file for a subject and what sets this call apart from others, so that none replaces another's picture."""
    return folder / f"{name_files(['-'.join(words)])[0]}.png"


def find_class(classes: Sequence[str], wanted: str, option: str) -> int:
    """The number of a class, given by its name, the first of its synonyms or its number.

    Raises:
        UserError: there is no such class; `option` is what asked for it.
    """
    if wanted in classes:
        return classes.index(wanted)
    starts = [at for at, name in enumerate(classes) if name.split(",")[0] == wanted]
    if len(starts) == 1:  # WordNet's synonyms follow after commas: `goldfish, Carassius auratus`
        return starts[0]
    if wanted.isdecimal() and int(wanted) < len(classes):
        return int(wanted)
    hint = did_you_mean(wanted, {*classes, *(name.split(",")[0] for name in classes)})
    raise UserError(f"{option} {wanted}: the network has no such class{hint}; it has {len(classes)}, numbered from 0")
