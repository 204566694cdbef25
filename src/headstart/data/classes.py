"""The order of classes, one for all readers, and names that are too alike to be two classes."""

import logging
import re
from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal
from unicodedata import normalize

from headstart.data.filenames import escape_name
from headstart.errors import UserError

log = logging.getLogger(__name__)

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def order_classes(names: Iterable[str]) -> list[str]:
    """Order class names: numbers by their value (-2, 2, 10), then the others by their text."""
    return sorted(set(names), key=_sort_key)


def check_names(names: Iterable[str], origin: str) -> None:
    """Refuse names that are written in two ways, such as 1 and 01; warn of names that differ in case only.

    Cat and cat are kept apart, because there are sets of letters, in which A and a are two classes.

    Raises:
        UserError: two names are the same number, or the same text in two Unicode forms or with other blanks.
    """
    ordered = order_classes(names)
    for alike in _group_by(ordered, _identity):
        shown = " and ".join(map(_show_exactly, alike))
        why = "are the same number" if _read_number(alike[0]) is not None else "are the same text in two forms"
        raise UserError(f"{origin}: the classes {shown} {why}: write one of them only, or other names for two classes")
    for alike in _group_by(ordered, str.casefold):
        shown = " and ".join(f"'{escape_name(name)}'" for name in alike)
        log.warning(
            "%s: the classes %s differ in upper and lower case only, and are kept apart: if they are one class, "
            "write them alike",
            origin,
            shown,
        )


def _read_number(name: str) -> Decimal | None:
    return Decimal(name) if NUMBER.fullmatch(name) else None


def _sort_key(name: str) -> tuple[bool, Decimal, str, str]:
    value = _read_number(name)
    return value is None, value or Decimal(0), normalize("NFC", name), name  # the last: no two names are equal


def _identity(name: str) -> Hashable:
    """The same for two names that nobody means as two classes."""
    value = _read_number(name)
    return normalize("NFC", " ".join(name.split())) if value is None else value


def _group_by(names: Iterable[str], key: Callable[[str], Hashable]) -> list[list[str]]:
    """The groups of two or more names that have the same key."""
    groups: dict[Hashable, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _show_exactly(name: str) -> str:
    """A name in quotes; other letters than ASCII's as escapes too, since two forms of one letter look the same."""
    shown = f"'{escape_name(name)}'"
    return shown if name.isascii() else f"{shown} ({name!a})"
