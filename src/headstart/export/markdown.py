"""Texts of others (names of classes, data and runs) in a Markdown document, where they are shown and do nothing."""

from __future__ import annotations

import re

from headstart.storage.plain_text import escape_controls

SPECIAL = re.compile(r"([\\`*{}\[\]<>|#$~!&]|(?<!\w)_|_(?!\w))")  # an underscore inside a word does nothing


def text(value: str) -> str:
    """A text for a sentence or a table's cell: one line, with a backslash before what Markdown would act on."""
    return SPECIAL.sub(r"\\\1", " ".join(escape_controls(value).split()))


def code(value: str) -> str:
    """A text that stands between backticks."""
    return " ".join(escape_controls(value).split()).replace("`", "'")
