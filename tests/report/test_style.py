"""Colours that stay, and labels that keep out of each other's way."""

from __future__ import annotations

import pytest

from headstart.report.study.groups import Group
from headstart.report.style import Palette, spread_out


def rows(*names: str, models: tuple[str, ...] = ("m",)) -> list[Group]:
    """Rows without runs, a row a strategy and model."""
    return [Group(model, name, "d", {}, []) for name in names for model in models]


def test_colours_are_stable() -> None:
    few, many = rows("finetune", "scratch"), rows("finetune", "scratch", "ema", "a", "b")
    assert [Palette(few).colour(row) for row in few] == [Palette(many).colour(row) for row in many[:2]]
    assert len({Palette(many).colour(row) for row in many}) == 5


def test_looks_are_told_apart() -> None:
    many = rows(*(f"strategy_{k}" for k in range(33)))
    palette = Palette(many)
    assert len({palette.colour(row) for row in many}) == 33
    models = rows("scratch", models=("a", "b", "c"))
    assert len({Palette(models).colour(row) for row in models}) == 3


def test_spread_out() -> None:
    placed = spread_out([5.0, 5.1, 0.0, 9.9], 1.0, 0.0, 10.0)
    assert placed == pytest.approx([4.55, 5.55, 0.0, 9.9])
    crowded = sorted(spread_out([9.9, 9.8, 9.7], 1.0, 0.0, 10.0))
    assert crowded == pytest.approx([8.0, 9.0, 10.0])
