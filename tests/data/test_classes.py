"""The order of classes, and names that are too alike to be two classes."""

import os
import subprocess
import sys
from itertools import permutations

import pytest

from headstart.data.classes import check_names, order_classes
from headstart.errors import UserError


@pytest.mark.parametrize(
    "ordered",
    [
        ["1", "2", "3", "6", "9", "10", "11"],
        ["-2.0", "-1.0", "0.0", "1.0", "10.0"],
        ["-2", "-1", "0", ".5", "1.0", "1e1", "+11"],
        ["2", "10", "Cat", "a10", "a2", "cat"],
        ["1", "2", "-", "1-2", "1_000", "nan", "v1"],
        ["Zebra", "apfel", "cafe", "café", "éclair", "猫"],
    ],
)
def test_numbers_by_value_then_text(ordered: list[str]) -> None:
    assert order_classes(reversed(ordered)) == ordered
    assert order_classes([*ordered[1:], *ordered]) == ordered


def test_the_order_is_that_of_no_set() -> None:
    """The names that had the same sort key took the order of a Python set, which another seed of the hashes changes."""
    assert len({tuple(order_classes(names)) for names in permutations(["1", "01", "1.0", "2"])}) == 1
    code = "from headstart.data.classes import order_classes; print(order_classes({'1', '01', '1.0', '001', '2'}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in "123"
    }
    assert said == {"['001', '01', '1', '1.0', '2']\n"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("1", "01"), r"birds: the classes '01' and '1' are the same number: write one of them only"),
        (("2", "1", "1.0", "1e0"), r"'1' and '1\.0' and '1e0' are the same number"),
        (("0", "-0"), "are the same number"),
        (("caf\u00e9", "cafe\u0301"), r"\('cafe\\u0301'\) and .* \('caf\\xe9'\) are the same text in two forms"),
        (("New York", "New  York"), "are the same text in two forms"),
    ],
)
def test_names_written_in_two_ways_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_names({*names, "other"}, "birds")


def test_names_that_differ_in_case_are_kept_apart_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    check_names(["a", "A", "Cat", "cat", "dog"], "birds")
    said = "birds: the classes {} differ in upper and lower case only, and are kept apart"
    first, second = caplog.messages
    assert first.startswith(said.format("'A' and 'a'"))
    assert second.startswith(said.format("'Cat' and 'cat'"))


def test_other_names_are_accepted_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    check_names(["1", "2", "10", "a1", "a01", "nan", "caf\udce9", "1-2"], "birds")
    assert not caplog.records
