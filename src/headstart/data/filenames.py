"""File names as text that can be printed and stored: on disk a name is bytes, and it may contain a line break."""

import re
from contextlib import suppress

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escape_name(name: str) -> str:
    r"""Replace control characters and bytes that are not UTF-8 in a name by escapes, such as `\n` and `\xff`."""
    with suppress(UnicodeEncodeError):  # in an ASCII locale Python holds every other letter as bytes
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return UNPRINTABLE.sub(lambda found: _escape(found[0]), name)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python represents a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
