"""The sentence that follows from the numbers, the table and the file."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from conftest import compose
from headstart.visualize.transfer.depths import Depth
from headstart.visualize.transfer.interval import compare
from headstart.visualize.transfer.measure import Change, Transfer
from headstart.visualize.transfer.words import COLUMNS, conclude, format_table, make_csv

N = 400


def right(share: float) -> np.ndarray:
    return np.arange(N) < round(share * N)


def transfer(onward: list[float], trained: float = 0.9, changed: int | None = None) -> Transfer:
    """Depths from the input to depth 1, with the accuracies of rewinding up to each of them."""
    depths = len(onward)
    reach = depths if changed is None else changed
    changes = [
        Change(
            Depth(depths - at, f"blocks.{at}", (), ()),
            depths - at <= reach,
            *(0.1, None, 0.5),
            compare(right(trained - 0.1), right(trained)),
            compare(right(share), right(trained)),
        )
        for at, share in enumerate(onward)
    ]
    return Transfer(changes, trained, N, 100)


def test_the_fewest_depths_that_carry_enough_are_recommended() -> None:
    said = conclude(transfer([0.9, 0.895, 0.88, 0.85, 0.7]))
    assert said.startswith("Depths 1–3 carry 98 % of the gain of 20.0 points over the frozen backbone:")
    assert "-0.5 ± " in said
    (keys,) = re.findall(r"(strategy=\S+ \S+) should do", said)
    config = compose(*keys.split())  # the keys are real
    assert config.strategy.phases["tail"].rates["last"]["groups"] == 3


def test_one_depth() -> None:
    said = conclude(transfer([0.9, 0.9, 0.7]))
    assert said.startswith("Depth 1 carries 100 % of the gain")
    assert "strategy.phases.tail.rates.last.groups=1 should do" in said


@pytest.mark.parametrize("frozen", [0.9, 0.95, 0.895])
def test_a_gain_that_is_not_shown_recommends_the_frozen_backbone(frozen: float) -> None:
    assert "strategy=feature_extraction should do" in conclude(transfer([0.5, 0.5, frozen]))


def test_too_few_images_to_say_whether_there_is_a_gain() -> None:
    few = np.arange(20)
    base = compare(few < 17, few < 18)
    found = transfer([0.9])
    said = conclude(replace(found, images=20, changes=[replace(found.changes[0], onward=base)]))
    assert said.startswith("20 images are too few to say whether fine-tuning gained anything")
    assert "changes by -5.0 ±" in said
    assert "should do" not in said


def test_depths_none_of_which_can_be_spared() -> None:
    said = conclude(transfer([0.8, 0.75, 0.7]))
    assert said.startswith("Depths 1–3 carry the gain of 20.0 points over the frozen backbone, and none can be spared")
    assert "with depth 3 back, 50 % of it is left" in said


def test_too_few_images_to_say_which_depths_can_be_spared() -> None:
    said = conclude(transfer([0.892, 0.88, 0.84]))
    assert said.startswith("Depths 1–3 carry the gain of 6.0 points over the frozen backbone; with depth 3 back, 88 %")
    assert "-0.8 ± 1.0 points, which may be chance: 400 images are too few" in said
    assert "spared: " not in said


def test_only_depths_that_were_trained_count() -> None:
    """Of a partial run of two depths, the others were frozen: they cannot be recommended for training."""
    found = transfer([0.9, 0.9, 0.8, 0.7], changed=2)
    assert conclude(found).startswith("Depths 1–2 carry the gain of 20.0 points")
    assert [line.split()[-4:][0] for line in format_table(found)[1:3]] == ["unchanged", "unchanged"]


def test_the_file_has_the_numbers_in_full() -> None:
    header, *rows = csv.reader(io.StringIO(make_csv(transfer([0.8, 0.7]))))
    assert tuple(header) == COLUMNS
    assert rows[0][:6] == ["2", "blocks.0", "true", "0.1", "", "0.5"]
    assert [float(rows[1][header.index(name)]) for name in ("onward_accuracy", "onward_change")] == [
        0.7,
        pytest.approx(-0.2),
    ]


def test_the_interval_covers_the_true_difference() -> None:
    """By simulation: 95 % intervals of 60 images that two networks get right with 0.9 and 0.8."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        draw = random.random(60)
        one, other = draw < 0.9, (draw < 0.75) | (draw > 0.95)
        found = compare(other, one)
        covered += abs(found.change + 0.1) <= found.half
    assert 0.93 <= covered / 2000 <= 0.985


def test_equal_answers_have_an_interval_too() -> None:
    found = compare(right(0.9), right(0.9))
    assert found.change == 0
    assert 0 < found.half < 0.01
    assert not found.is_shown
