"""Tests for `headstart.preflight.job_values`: the short way gives what composing gives, or hands over to it."""

import pytest

from headstart.config import resolvers
from headstart.config.validate import find_problems
from headstart.preflight.hydra_internals import Loader
from headstart.preflight.overrides import Composer, without_hydra


@pytest.fixture(scope="module")
def composer() -> Composer:
    resolvers.register()
    return Composer(Loader("config"))


SET = [
    ["seed=1", "optimizer.lr=0.5", "logger.tags=[a,b]"],
    ["+optimizer.eps=1e-3"],
    ["++optimizer.eps=1e-3", "++optimizer.eps=1e-4"],
    ["model=resnet18", "strategy=finetune", "cache_dir=null"],
]
HANDED_OVER = [
    ["+optimizer.eps=1e-3", "+optimizer.eps=1e-3"],
    ["+seed=1"],
    ["~seed"],
    ["optimizer.epps=1"],
    ["seed=x"],
    ["strategy.phases={head:{epochs:1}}"],
]


@pytest.mark.parametrize("lines", SET, ids=" ".join)
def test_values_are_read_as_they_are_composed(composer: Composer, lines: list[str]) -> None:
    overrides = Loader("config").parser.parse_overrides(lines)
    composed = composer.compose(overrides)
    assert not composed.problems
    with composer.base(overrides).as_hydra_config():
        assert composer.read_values(overrides) == find_problems(without_hydra(composed.config))[1]


@pytest.mark.parametrize("lines", HANDED_OVER, ids=" ".join)
def test_what_is_more_than_a_valid_value_is_composed_and_leaves_nothing_behind(
    composer: Composer, lines: list[str]
) -> None:
    parser = Loader("config").parser
    before = composer.read_values(())
    assert before is not None
    assert composer.read_values(parser.parse_overrides(lines)) is None
    assert composer.read_values(()) == before
