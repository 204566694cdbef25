"""The input that a network expects, and what the place that its weights come from says of both.

A run (`model.weights=run:FOLDER`, or a file in a run's `checkpoints/`), the file of a run's weights wherever it was
copied to, a folder and a hub page (`local-dir:`, `hf-hub:`) say with which arguments their network was built and with
which preprocessing it was trained. These are used; a key that says otherwise is refused, because the same tensors
would be another function of the same image.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config import environment
from headstart.config.paths import make_path
from headstart.errors import UserError
from headstart.models import factory
from headstart.models.input import CROP_MODES, Input, input_from_plain, read_timm_config
from headstart.models.weights import read_facts

if TYPE_CHECKING:
    from headstart.config.schema import ModelConfig

log = logging.getLogger(__name__)

OVERLAY = "pretrained_cfg_overlay"  # the argument by which a config changes what timm says of a network's input
# Arguments that headstart or the loading sets itself, whatever a folder says; the channels are checked elsewhere.
SET_BY_LOADING = ("num_classes", "in_chans", "pretrained", "pretrained_cfg", "checkpoint_path", "features_only")
FREE = re.compile(r"drop(_\w+)*_rate|(\w+_)?drop(_rate)?")  # rates of dropout: they do not change a trained network


@dataclass(frozen=True)
class Origin:
    """What a run, a folder or a hub page says of the network whose weights it holds."""

    name: str
    args: dict[str, Any]
    input: Input


def expected_input(config: ModelConfig) -> Input:
    """The input that the network expects: what its weights come with, else what timm says of the network.

    Reads the config of the run, folder or hub page in `weights`, but no weights.
    """
    factory.check_name(config.name)
    origin = read_origin(config)
    if origin is not None:
        return origin.input
    # of the network with its arguments, which may change the input
    return read_timm_config(factory.build_outline(config).pretrained_cfg, f"model.name={config.name}")


def adopt(config: ModelConfig) -> ModelConfig:
    """The config with the arguments of the network that its weights were saved from; a second time changes nothing.

    Raises:
        UserError: the weights are of another network, or a key of `model.args` says otherwise.
    """
    origin = read_origin(config)
    if origin is None:
        return config
    _refuse_other_arguments(config, origin)
    overlay = origin.args.get(OVERLAY, {}) | config.args.get(OVERLAY, {})
    args = origin.args | config.args | ({OVERLAY: overlay} if overlay else {})
    if args != config.args:
        log.info("model.args=%s: as the network of model.weights=%s was built", json.dumps(args), config.weights)
    return replace(config, args=args)


def state(expected: Input, image_size: int, resize: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run does with an image before the network sees it, in words of its config.

    Raises:
        UserError: the config's own section `preprocessing` is `given`, and says otherwise.
    """
    found = asdict(expected) | {"image_size": image_size, "resize": resize}
    stated: dict[str, Any] = _as_plain(found)
    for key, value in given.items():
        if key not in stated or _as_plain(value) != stated[key]:
            raise UserError(
                f"preprocessing.{key}={json.dumps(value)}: is stated by the run, here {key}={stated.get(key)}; leave "
                "it out, or change it by its own key: data.image_size, data.resize, or for weights in a bare file "
                f"+model.args.{OVERLAY}.{key}=…"
            )
    return stated


def digest(weights: str, stated: Mapping[str, Any]) -> dict[str, str]:
    """The blake2b-128 hex of what `state` returned, by its key; for a run's weights, whose digest leaves it out."""
    if find_run(weights) is None and _read_file(weights) is None:
        return {}
    text = json.dumps(stated, sort_keys=True)
    return {"preprocessing": hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def describe(stated: Mapping[str, Any], stored_size: int) -> str:
    """One line that says what a run does with an image before the network sees it."""
    side, how, word = stated["image_size"], stated["resize"], stated["interpolation"]
    sides = {"crop": "shorter side", "squash": "both sides", "pad": "longer side"}[how]
    mean, std = (", ".join(f"{value:.4g}" for value in stated[key]) for key in ("mean", "std"))
    resized = f"{sides} to {stored_size} px ({word}), then the centre of {side} px"
    return f"data.resize={how}: {resized}  |  mean {mean}  |  std {std}"


def read_origin(config: ModelConfig) -> Origin | None:
    """What the place in `model.weights` says of its network; None if it is a file of others, a package, or timm."""
    if config.weights.startswith(("local-dir:", "hf-hub:")):
        cfg, args = factory.read_external_config(config)
        kept = {key: value for key, value in args.items() if key not in SET_BY_LOADING}
        return Origin(config.name, kept, read_timm_config(cfg, f"model.weights={config.weights}"))
    folder = find_run(config.weights)
    origin = _read_file(config.weights) if folder is None else _read_run(folder, config.weights)
    if origin is None:
        return None
    if origin.name.partition(".")[0] != config.name.partition(".")[0]:
        raise UserError(
            f"model.weights={config.weights} holds {origin.name}, but model.name={config.name}: make them agree"
        )
    return origin


def find_run(weights: str) -> Path | None:
    """The folder of the run that wrote the weights: that of `run:FOLDER`, or of a file in a run's `checkpoints/`."""
    scheme, _, rest = weights.partition(":")
    if scheme == "run":
        return make_path(rest)
    path = make_path(weights)
    for folder in path.parents[1:3]:  # checkpoints/best.safetensors, checkpoints/PHASE/best.safetensors
        if path.is_relative_to(folder / "checkpoints") and (folder / "state.json").is_file():
            return folder
    return None


def _read_file(weights: str) -> Origin | None:
    """What the file of a run's weights says, which was copied out of the run's folder; None for all other files."""
    path = make_path(weights)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    facts = read_facts(path)
    try:
        model = environment.reveal(facts["model"])
        return Origin(str(model["name"]), dict(model["args"]), input_from_plain(facts["transform"]))
    except (LookupError, TypeError, ValueError):  # of an earlier version, or of somebody else
        return None


def _read_run(folder: Path, weights: str) -> Origin:
    from headstart.config.schema import ModelConfig

    try:
        config = read_config(folder)
        model, stated = config["model"], config.get("preprocessing")
        name, args = str(model["name"]), dict(model.get("args") or {})
        if stated:
            return Origin(name, args, input_from_plain(stated))
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else reason
        raise UserError(
            f"model.weights={weights}: {folder / 'config.yaml'} cannot be read ({reason}); a completed run has it, and "
            "it says how the run's images were prepared: name the whole folder of a run"
        ) from error
    # a run of an earlier version does not state it: it had what its own config gives
    expected = expected_input(ModelConfig(name, str(model.get("weights", "none")), args))
    size = (config.get("data") or {}).get("image_size") or expected.image_size
    return Origin(name, args, replace(expected, image_size=size, resize="crop"))


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.yaml` of a run, with the values of the environment that it names.

    Raises:
        OSError, ValueError: it is not there, is damaged, or the environment has changed.
    """
    from omegaconf import OmegaConf, errors
    from yaml import YAMLError

    try:
        plain = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=False)
    except (YAMLError, errors.OmegaConfBaseException) as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    if not isinstance(plain, dict):
        raise ValueError("no mapping")
    return {str(key): environment.reveal(value) for key, value in plain.items()}


def _refuse_other_arguments(config: ModelConfig, origin: Origin) -> None:
    """Raise UserError for keys of `model.args` with other values than the weights' network was built with."""
    own = {key: value for key, value in config.args.items() if key != OVERLAY and not FREE.fullmatch(key)}
    found = [_describe_difference(key, value, origin.args) for key, value in own.items()]
    side, overlay = origin.input.image_size, origin.args.get(OVERLAY, {})
    stated = asdict(origin.input) | {"input_size": [3, side, side]}
    stated["crop_mode"] = next(name for name, resize in CROP_MODES.items() if resize == origin.input.resize)
    for key, value in config.args.get(OVERLAY, {}).items():
        if key in stated and _as_plain(overlay.get(key)) != _as_plain(value):
            found.append(_describe_difference(f"{OVERLAY}.{key}", value, {f"{OVERLAY}.{key}": stated[key]}))
    if problems := [problem for problem in found if problem]:
        raise UserError(
            f"model.weights={config.weights}: {'; '.join(problems)}: the same weights would compute something else. "
            "Leave it out, then what the weights come with is used"
        )


def _describe_difference(key: str, value: Any, theirs: Mapping[str, Any]) -> str | None:
    if key in theirs and _as_plain(theirs[key]) == _as_plain(value):
        return None
    were = f"with {json.dumps(theirs[key], default=str)}" if key in theirs else "without it"
    return f"model.args.{key}={json.dumps(value, default=str)}, but they were trained {were}"


def _as_plain(value: Any) -> Any:
    """Tuples as lists, so that values from Python and from a file can be compared."""
    return json.loads(json.dumps(value, default=str))
