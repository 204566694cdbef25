"""File names as text that can be printed and stored: on disk a name is bytes, and it may contain a line break."""

import re
from collections.abc import Sequence
from contextlib import suppress

from headstart.storage.plain_text import escape_controls

BYTES = re.compile("[\udc80-\udcff]")  # how Python represents a byte that is not UTF-8


def escape_name(name: str) -> str:
    r"""Replace control characters and bytes that are not UTF-8 in a name by escapes, such as `\n` and `\xff`."""
    with suppress(UnicodeEncodeError):  # in an ASCII locale Python holds every other letter as bytes
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    name = BYTES.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", name)
    return escape_controls(name).replace("\t", r"\t").replace("\n", r"\n")


def list_names(names: Sequence[str], most: int = 10) -> str:
    """The first names, escaped, and how many there are if these are not all: `cat, dog, … (12)`."""
    return ", ".join(map(escape_name, names[:most])) + f", … ({len(names)})" * (len(names) > most)
