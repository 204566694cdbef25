"""Numbers as people read them."""

from __future__ import annotations

from headstart.report.study.columns import count, duration


def test_numbers_for_people() -> None:
    assert [count(value) for value in (812, 12_810, 3_383_818, 999_999, 0.5)] == [
        *("812", "12.8 k", "3.4 M", "1.0 M", "0.5"),
    ]
    assert [duration(value) for value in (0.123, 12.34, 204.0, 5400.0, 9000.0)] == [
        *("0.12 s", "12.3 s", "3.4 min", "90.0 min", "2.5 h"),
    ]
