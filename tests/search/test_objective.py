"""What a search looks for: never a number of the test images."""

from __future__ import annotations

import pytest

from headstart.search.objective import Objective, find_front, read_objectives


@pytest.mark.parametrize("name", ["test_accuracy", "test.accuracy", "test"])
def test_numbers_of_the_test_images_are_refused(name: str) -> None:
    problems, found = read_objectives(name, None)
    assert not found
    assert problems[0].startswith(f"hydra.sweeper.objective={name}: must be one of val_accuracy, ")
    assert "test images are looked at once" in problems[0]


@pytest.mark.parametrize(
    ("names", "directions", "why"),
    [
        (["val_accuracy"] * 2, None, "two different ones"),
        (["val_accuracy", "seconds", "gmacs"], None, "one or two of"),
        ("val_accuracy", "up", "maximize or minimize"),
        (["val_accuracy", "seconds"], "maximize", "one for each objective"),
    ],
)
def test_what_makes_no_sense_is_refused(names: object, directions: object, why: str) -> None:
    problems, found = read_objectives(names, directions)
    assert why in problems[0]
    assert not found


def test_each_objective_has_its_direction() -> None:
    _, found = read_objectives(["val_accuracy", "seconds"], None)
    assert [each.direction for each in found] == ["maximize", "minimize"]
    result = {"val": {"accuracy": 0.5}, "test": {"accuracy": 0.9}, "seconds": {"total": 3.0, "features_reused": 4.0}}
    assert [each.read(result) for each in found] == [0.5, 7.0]
    assert Objective("val_nll", "minimize").read({"val": {"nll": None}}) is None


def test_the_front_is_what_no_other_point_beats() -> None:
    objectives = [Objective("val_accuracy", "maximize"), Objective("seconds", "minimize")]
    points = [(0.9, 10.0), (0.8, 5.0), (0.8, 6.0), (0.7, 5.0), (0.9, 10.0), (0.95, 20.0)]
    assert find_front(objectives, points) == [0, 1, 5]
