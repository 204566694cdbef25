"""The identity of a run: a digest of what its result depends on, which its folder is named after."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.config.effect import replace_what_has_no_effect

# Settings that cannot change a result are no part of the identity.
IRRELEVANT = (
    *("study", "output_dir", "cache_dir"),  # where it is kept
    *("rerun", "fail_fast", "sweep", "trial", "prune"),  # of the command; a pruned run has no result
    "checkpoint_every",
    "keep",
    "figures",
    "head",  # if a strategy uses it, the strategy contains it
    "logger",
    "hardware.workers",
    "features.storage",
    "hardware.tune",  # the settings that it chose are part of the identity
    "hardware.allow_bf16",
    "data.storage",
    "preprocessing",  # stated for the reader; it follows from the network, its weights and other keys
    "data.source.layout",  # of image folders: what it changes is in the digest of the data
)
# Keys that came later are no part of the identity while they have this value: what they did before they existed.
LATER: dict[str, Any] = {"data.resize": "crop", "hardware.nodes": 1}
LATER |= dict.fromkeys(("learning_rate", "data.pixel_range", "data.group", "data.folds", "data.fold"))


def compute_identity(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> str:
    """The identity of a run: 8 hex digits of a digest of its resolved config and of `digests`.

    Settings that cannot change the result of any run are left out; those without effect on this one are replaced
    (`headstart.config.effect`). The order of keys is ignored, except for phases and rates,
    where the order has a meaning.

    Args:
        digests: of the content of data and weights: the same path with other images gives another run.
    """
    # the names under `imports` stand in the digest of their code
    kept = _drop_keys(replace_what_has_no_effect(config), (*IRRELEVANT, "imports"))
    # the content of all images, used or not, says in `compare` which data they are; `data` is of those that are used
    kept["digests"] = {name: digest for name, digest in digests.items() if name != "content"}
    kept["strategy"]["phases"] = [
        [phase, node | {"rates": list(node["rates"].items())}] for phase, node in kept["strategy"]["phases"].items()
    ]
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _drop_keys(node: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    return {
        key: _drop_keys(value, keys, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in node.items()
        if f"{prefix}{key}" not in keys and (f"{prefix}{key}" not in LATER or LATER[f"{prefix}{key}"] != value)
    }


def make_name(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> str:
    """Make the folder's name: network, strategy, data, seed and identity."""
    parts = [
        config["model"]["name"],
        config["strategy"]["name"],
        config["data"]["name"],
        f"s{config['seed']}",
    ]
    safe = ["".join(char if char.isalnum() or char in "._" else "_" for char in str(part)) for part in parts]
    return "-".join([*safe, compute_identity(config, digests)])


def find_folder(config: Mapping[str, Any], digests: Mapping[str, str | None]) -> Path:
    """The folder of the run with a resolved config."""
    return Path(config["output_dir"]) / config["study"] / make_name(config, digests)
