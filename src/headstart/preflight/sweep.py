"""The jobs of a sweep: the values of each key, and their combinations."""

import itertools
from collections.abc import Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf


def find_sweep_in_files(composed: DictConfig) -> dict[str, str]:
    """The sweep that an experiment file contains: the values of each key, as an override names them."""
    params = OmegaConf.select(composed, "hydra.sweeper.params") or {}
    return {str(key): str(value) for key, value in params.items()}


def list_axes(overrides: list[Override]) -> dict[str, list[Override]]:
    """List the values that a sweep tries for each key, as overrides; of an interval, both ends."""
    axes: dict[str, list[Override]] = {}
    parser = OverridesParser.create()
    for override in overrides:
        if not override.is_sweep_override():
            axes[override.get_key_element()] = [override]
        else:
            key = override.get_key_element()
            axes[key] = [parser.parse_override(f"{key}={value}") for value in _list_values(override)]
    return axes


def _list_values(override: Override) -> Iterator[object]:
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):  # the values between are chosen by an optimizing sweeper
        yield from (sweep.start, sweep.end)
    else:
        yield from override.sweep_string_iterator()


def combine_all(axes: dict[str, list[Override]]) -> Iterator[list[Override]]:
    """The jobs of a sweep: every combination of its values."""
    return map(list, itertools.product(*axes.values()))


def use_each_value_once(axes: dict[str, list[Override]]) -> Iterator[list[Override]]:
    """A small number of jobs in which every value of a sweep occurs."""
    first = {key: values[0] for key, values in axes.items()}
    yield list(first.values())
    for key, values in axes.items():
        yield from (list((first | {key: value}).values()) for value in values[1:])
