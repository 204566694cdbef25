"""File names as text that can be printed and stored: a name on disk is bytes, and may hold a newline."""

import re
from contextlib import suppress

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escape_name(name: str) -> str:
    r"""The name with control characters and bytes that are not UTF-8 written out, as `\n` and `\xff`."""
    with suppress(UnicodeEncodeError):  # where Python itself speaks ASCII only, every other letter came as bytes
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return UNPRINTABLE.sub(lambda found: _escaped(found[0]), name)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python holds a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
