"""Names of files as they can be printed."""

import os

import pytest

from headstart.data.filenames import escape_name, list_names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain 🦉 сова.png", "plain 🦉 сова.png"),
        ("new\nline\r\t", r"new\nline\r\t"),
        (os.fsdecode(b"a\xff\xfe"), r"a\xff\xfe"),
        ("\u2028\x7f\x00", r"\u2028\x7f\x00"),
        ("gpj.\u202egpj", r"gpj.\u202egpj"),  # it would turn the rest of a line round
    ],
)
def test_names_become_readable(name: str, shown: str) -> None:
    assert escape_name(name) == shown
    assert escape_name(shown) == shown
    shown.encode("utf-8")


def test_of_many_names_the_first_and_their_number_are_listed() -> None:
    assert list_names(["b", "a\n"], 2) == r"b, a\n"
    assert list_names([f"c{at}" for at in range(12)], 3) == "c0, c1, c2, … (12)"
