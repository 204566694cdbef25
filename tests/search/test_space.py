"""The space of a search as Hydra's sweeps write it, and what of it a run's config has."""

from __future__ import annotations

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from headstart.search.space import Space, read_space


def read(*lines: str, groups: tuple[str, ...] = ()) -> tuple[list[str], Space]:
    return read_space(OverridesParser.create().parse_overrides(list(lines)), groups)


KINDS = optuna.distributions


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("lr=tag(log,interval(1e-5,1e-2))", KINDS.FloatDistribution(1e-5, 1e-2, log=True)),
        ("lr=interval(0,0.5)", KINDS.FloatDistribution(0, 0.5)),
        ("k=int(interval(1,8))", KINDS.IntDistribution(1, 8)),
        ("k=tag(int,log,interval(1,64))", KINDS.IntDistribution(1, 64, log=True)),
        ("k=range(1,5)", KINDS.IntDistribution(1, 4)),
        ("k=range(0,1,0.25)", KINDS.FloatDistribution(0, 0.75, step=0.25)),
        ("head=ridge,knn", KINDS.CategoricalDistribution(("ridge", "knn"))),
        ("augment.crop_scale=choice([0.5,1.0],[1.0,1.0])", KINDS.CategoricalDistribution(("[0.5,1.0]", "[1.0,1.0]"))),
    ],
)
def test_each_form_of_a_sweep_is_a_distribution(line: str, kind: object) -> None:
    problems, space = read(line)
    assert not problems
    assert space.dimensions[0].make_distribution(optuna) == kind


def test_what_cannot_be_searched_is_said() -> None:
    problems, _ = read("lr=tag(log,interval(0,1))", "wd=interval(1,1)")
    assert problems == [
        "lr=tag(log,interval(0,1)): an interval by orders of magnitude (log) begins above 0",
        "wd=interval(1,1): an interval goes from a number to a larger one",
    ]


def test_of_two_overrides_of_a_key_the_last_counts() -> None:
    assert [each.choices for each in read("a=1,2", "a=3,4")[1].dimensions] == [("3", "4")]
    assert not read("a=1,2", "a=3")[1].dimensions, "the command line fixes what a file sweeps"


def test_values_of_a_run_are_found_and_those_outside_are_not() -> None:
    _, space = read("head=ridge,knn", "lr=interval(0.1,1)", "k=range(1,9,2)", "crop=[0.5,1.0],null", groups=("head",))
    config = {"lr": 0.5, "k": 3, "crop": [0.5, 1.0]}
    found = {"head": "knn", "lr": 0.5, "k": 3, "crop": "[0.5,1.0]"}
    assert space.find_params(OmegaConf.create(config), {"head": "knn"}) == found
    assert space.find_params(OmegaConf.create(config | {"crop": None}), {"head": "knn"}) == found | {"crop": "null"}
    for outside in ({"lr": 0.05}, {"lr": True}, {"k": 4}, {"crop": [1.0, 1.0]}):
        assert space.find_params(OmegaConf.create(config | outside), {"head": "knn"}) is None


def test_numbers_have_few_digits_and_stay_inside() -> None:
    _, space = read("lr=interval(0.00012344,1)")
    (only,) = space.dimensions
    assert only.settle(0.0314159265) == 0.03142
    assert only.settle(0.000123441) == only.low
