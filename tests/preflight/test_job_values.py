"""Tests for `headstart.preflight.job_values`: the short way gives what composing gives, or hands over to it."""

import pytest

from headstart.config import resolvers
from headstart.config.validate import find_problems
from headstart.preflight.command import examine
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


# Each is read after those before it, by what differs from the first; the last words say what could go wrong.
SEQUENCE = [
    ["seed=1", "output_dir=a", "+optimizer.eps=1e-3"],
    ["seed=2", "+optimizer.eps=1e-4", "output_dir=b"],  # split_seed and cache_dir follow
    ["seed=2"],  # what only the first one has is gone
    ["data.split_seed=5", "seed=3", "optimizer.lr=1", "patience=3", "label_smoothing=0"],  # one that no longer follows
    ["+head.probe.bias=false", "seed=4"],  # strategies refer to the whole probe
    ["seed=${epochs}", "epochs=4", "logger.tags=[a,b]"],
    ["epochs=5", "seed=${epochs}", "study=other", "data.image_size=64"],
    ["augment.crop_scale=[0.5,1.0]", "seed=6"],
]


def test_later_jobs_are_read_by_what_differs(composer: Composer) -> None:
    parser = Loader("config").parser
    for lines in SEQUENCE:
        overrides = parser.parse_overrides(lines)
        composed = composer.compose(overrides)
        with composer.base(overrides).as_hydra_config():
            expected = find_problems(without_hydra(composed.config))[1]
        assert composer.read_values(overrides) in (expected, None), lines
    assert composer.read_values(parser.parse_overrides(SEQUENCE[1])) is not None, "the short way was taken"


def test_no_job_is_composed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, int] = {}
    for name in ("compose", "read_values", "_read_base"):
        real = getattr(Composer, name)

        def count(self: Composer, *args: object, name: str = name, real: object = real) -> object:
            calls[name] = calls.get(name, 0) + 1
            return real(self, *args)  # type: ignore[operator]

        monkeypatch.setattr(Composer, name, count)
    command = examine(["-m", "strategy=scratch,finetune", "seed=range(0,25)"], libraries=False, machine=False)
    assert len(command.jobs) == 50
    assert calls["read_values"] == 50, "each job is read once"
    assert calls["compose"] == 2, "only what all have in common is composed"
    assert calls["_read_base"] <= 4, "files are read once for the jobs that choose the same"
