"""Colours that stay, and looks that tell rows apart."""

from __future__ import annotations

from headstart.report.charts.theme import Palette
from headstart.report.study.groups import Group


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


def test_rows_that_differ_in_any_key_look_different() -> None:
    keys = [{"optimizer.lr": lr, "augment.flip": flip} for lr in range(12) for flip in (True, False)]
    many = [Group(model, name, "d", key, []) for name in ("scratch", "ema", "a") for model in "xy" for key in keys]
    palette = Palette(many)
    looks = {(palette.colour(row), palette.shape(row)) for row in many}
    assert len(looks) == 144
