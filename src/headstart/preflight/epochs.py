"""How many epochs a study is worth on its data: `${headstart_epochs:10000}` in an experiment's file."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from headstart.config import own_code, resolvers
from headstart.config.schema import DataConfig
from headstart.config.text import settle_source
from headstart.errors import UserError

FEWEST, MOST = 5, 40
UNKNOWN = 20  # where the data cannot be read: the check of the data says why, and no run starts


def register_resolvers() -> None:
    """Register this resolver and those of `headstart.config`; data that have changed are counted again."""
    resolvers.register()
    _count_training_images.cache_clear()
    OmegaConf.register_resolver("headstart_epochs", choose_epochs, replace=True)


def choose_epochs(images: int, *, _root_: DictConfig) -> int:
    """The epochs in which a phase sees about `images` training images, from 5 to 40; the same for all seeds."""
    try:
        data = OmegaConf.to_container(_root_.data, resolve=True, throw_on_missing=True)
        assert isinstance(data, dict)
        own_code.load(_root_.get("imports") or ())
        known = _count_training_images(json.dumps(data | {"split_seed": 0, "fold": data["fold"] and 0}, default=str))
    except (UserError, OmegaConfBaseException, OSError):
        return UNKNOWN
    return min(MOST, max(FEWEST, round(int(images) / max(1, known))))


@cache
def _count_training_images(data: str) -> int:
    from headstart.data.parts import read_parts

    values: Mapping[str, Any] = json.loads(data)
    config = DataConfig(**values)
    settle_source(config.source)
    return len(read_parts(config, None)[1]["train"])
