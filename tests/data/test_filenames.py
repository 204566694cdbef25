"""Names of files as they can be printed."""

import os

import pytest

from headstart.data.filenames import escape_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain 🦉 сова.png", "plain 🦉 сова.png"),
        ("new\nline\r\t", r"new\nline\r\t"),
        (os.fsdecode(b"a\xff\xfe"), r"a\xff\xfe"),
        ("\u2028\x7f\x00", r"\u2028\x7f\x00"),
    ],
)
def test_names_become_readable(name: str, shown: str) -> None:
    assert escape_name(name) == shown
    assert escape_name(shown) == shown
    shown.encode("utf-8")
