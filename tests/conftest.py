"""What every test module shares: composing a config as `headstart train` does, and small real runs."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # pytest runs as many processes as there are cores: half the time
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as `headstart train` does
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a missing file is an answer at once, not five retries

import fork_server
from headstart.config.schema import RunConfig
from headstart.config.validate import raise_if_any
from headstart.config.values import find_value_problems
from headstart.preflight.components import Components
from headstart.preflight.epochs import register_resolvers
from headstart.preflight.hydra_internals import Loader, parse_arguments
from headstart.preflight.jobs import compose_job
from headstart.preflight.overrides import Composer

gc.set_threshold(20_000)  # the collector would spend a tenth of the time on the half a million objects of the libraries

FAMILIES = (
    "resnet18",
    "tf_efficientnet_lite0",
    "vgg11",
    "densenet121",
    "mobilenetv2_100",
    "inception_v3",
    "convnext_atto",
    "legacy_xception",
    "resnetv2_50",
    "regnety_002",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take minutes: at the end, one process would be left alone with them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    fork_server.end_unfinished()


@cache
def _composer() -> tuple[Loader, Composer]:
    register_resolvers()
    parse_arguments(())  # as a command does: Hydra's own resolvers are registered
    loader = Loader("config")
    return loader, Composer(loader)


def compose(*overrides: str) -> RunConfig:
    """The config that `headstart train OVERRIDES` composes, typed and checked, but not by torch and timm."""
    loader, composer = _composer()
    parsed = loader.parser.parse_overrides(list(overrides))
    config = composer.read_values(parsed)
    if config is None or any(find_value_problems(config)):
        problems, config = compose_job(composer, parsed, this_machine=False)
        raise_if_any(problems)
    assert config is not None
    return config


def check_components(config: RunConfig) -> None:
    """Raises UserError where torch or timm have something to say against a config."""
    raise_if_any(Components().find_problems(config))


SMALL = (
    "data.image_size=32",
    "data.train_per_class=4",
    "data.n_test=40",
    "epochs=2",
    "logger=csv",
    "hardware=cpu",
)


@pytest.fixture
def run_small(tmp_path: Path) -> Callable[..., dict]:
    """Run a real experiment on a few digits, in this process, under `tmp_path/outputs`."""

    def run(*overrides: str) -> dict:
        from headstart import train

        config = compose(*SMALL, f"output_dir={tmp_path / 'outputs'}", *overrides)
        result = train.run(config, list(overrides))
        return result | {"folder": tmp_path / "outputs" / result["study"] / result["run"]}

    return run


@pytest.fixture(autouse=True)
def keep_logging() -> Iterator[None]:
    """A test that runs a command in this process leaves no console behind, and no level of logging, for the next."""
    loggers = [logging.getLogger(name) for name in (None, "headstart")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        for handler in [each for each in logger.handlers if each not in handlers]:
            logger.removeHandler(handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    from report.browser import BROWSER

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()
