"""Names of files as they can be printed."""

import os

import pytest

from headstart.data.names import readable


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
    assert readable(name) == shown
    assert readable(shown) == shown
    shown.encode("utf-8")
