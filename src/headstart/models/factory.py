"""Create a network by its timm name, with all of its weights or none, and with a head for the classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.errors import RunFailed, UserError, as_user_error, did_you_mean, nearest_names
from headstart.models import hub
from headstart.models import weights as stored
from headstart.models.timm_internals import read_folder_config

if TYPE_CHECKING:
    from torch import nn

    from headstart.config.schema import ModelConfig


def check_name(name: str) -> None:
    """Raise UserError with the nearest names if timm has no network `name` (a `.tag` may follow the name)."""
    import timm

    base, _, tag = name.partition(".")
    if timm.is_model(base):
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        if not tag or tag in tags:
            return
        raise UserError(f"model.name={name}: {base} has no weights tagged {tag!r}; there are {', '.join(tags)}")
    nearest = partial(nearest_names, limit=3, cutoff=0.5)
    hint = did_you_mean(base, timm.list_models(), between=", ", nearest=nearest) or "; see timm.list_models()"
    raise UserError(f"model.name={name}: timm knows no such network{hint}")


def check_size(model: nn.Module, name: str, side: int, own: int) -> None:
    """Raise UserError if the network cannot work on images of `side` pixels; `own` is the size it was made for."""
    import torch

    def try_size(pixels: int) -> None:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, pixels, pixels, device=next(model.parameters()).device))

    try:
        try_size(side)
    except (AssertionError, RuntimeError, ValueError) as error:
        if isinstance(as_user_error(error), RunFailed):
            raise  # out of memory
        try_size(own)  # if this fails too, the size is not the reason
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"data.image_size={side}: {name} cannot work on images of {side} pixels ({reason}); it was made for {own}: "
            f"try data.image_size={own}"
        ) from error


def read_external_config(config: ModelConfig) -> tuple[Any, dict[str, Any]]:
    """Read the `pretrained_cfg` and the network's arguments that a folder or hub page states.

    Raises:
        UserError: it describes another network.
    """
    from timm.models import load_model_config_from_hf

    source, _, place = config.weights.partition(":")
    try:
        if source == "local-dir":
            cfg, name, args = read_folder_config(place)
        else:
            with hub.offline_if_unreachable():
                cfg, name, args = load_model_config_from_hf(place)
    except Exception as error:
        raise _make_unavailable_error(config, error) from error
    if name != config.name.partition(".")[0]:
        raise UserError(f"model.weights={config.weights} holds {name}, but model.name={config.name}: make them agree")
    return cfg, args or {}


def build_outline(config: ModelConfig) -> Any:
    """Build the network without memory for weights, with two outputs, to plan a strategy before data is read."""
    import torch

    with torch.device("meta"):
        return _build(config, num_classes=2)


def create(config: ModelConfig, classes: tuple[str, ...], *, pretrained: bool) -> tuple[Any, list[str]]:
    """Create the network with one output per class; also returns the changes to it, as sentences.

    The head is new unless the weights come from a run with the same classes. Random numbers come from torch's global
    generator.

    Raises:
        UserError: unknown name, wrong `model.args`, or weights that are missing, damaged or incomplete.
    """
    notes: list[str] = []
    if not pretrained:
        return _build(config, num_classes=len(classes)), notes
    if config.weights == "none":
        raise UserError(
            "model.weights=none, but the strategy starts from pretrained weights: give it weights, or strategy=scratch"
        )
    path = stored.locate(config.weights)
    model = _load_by_timm(config) if path is None else _load_file(config, path)
    if stored.read_classes(config.weights) == list(classes):
        notes.append("head kept: the run was trained on the same classes")
    else:
        notes.append(f"head replaced: {model.num_classes} outputs -> {len(classes)} new ones")
        model.reset_classifier(len(classes))
        if stored.is_headless(config.weights):
            notes.append(f"the run's own head is a probe in its own file ({stored.PROBE}), which is not used")
    return model, notes


def _build(config: ModelConfig, **options: Any) -> Any:
    import timm

    arguments = options | config.args
    for key in options.keys() & config.args.keys() & {"pretrained_cfg_overlay"}:
        arguments[key] = config.args[key] | options[key]  # both count: one holds the input, the other the weights
    try:
        return timm.create_model(config.name, **arguments)
    except (TypeError, ValueError, AssertionError, ArithmeticError, RuntimeError) as error:
        loading = isinstance(error, RuntimeError) and "pretrained_cfg_overlay" in options  # weights that do not fit
        if loading or isinstance(as_user_error(error), RunFailed):
            raise
        raise UserError(f"model.args={config.args}: {config.name} does not take them: {error}") from error


def _load_by_timm(config: ModelConfig) -> Any:
    """Load weights that timm finds itself, all of them, with the number of outputs that they were trained with."""
    import timm

    external = config.weights.startswith(("local-dir:", "hf-hub:"))
    if not external and not any(build_outline(config).pretrained_cfg.get(key) for key in ("url", "hf_hub_id", "file")):
        raise UserError(
            f"model.weights={config.weights}: there are no published weights of {config.name} with these arguments "
            f"(model.args={config.args}); use strategy=scratch, or weights of your own: a file, or run:FOLDER"
        )
    try:
        with hub.offline_if_unreachable(not config.weights.startswith("local-dir:")):
            return timm.create_model(config.weights if external else config.name, pretrained=True, **config.args)
    except MemoryError:
        raise
    except Exception as error:
        raise _make_unavailable_error(config, error) from error


def _load_file(config: ModelConfig, path: Any) -> Any:
    """Load all weights of a checkpoint file; the number of outputs is that of its head."""
    import torch

    with torch.device("meta"):
        model = _build(config)
    state = stored.rename_tensors(stored.read(path), model, path)
    head = f"{model.pretrained_cfg.get('classifier', 'classifier')}.weight"
    outputs = len(state[head]) if head in state else model.num_classes
    try:
        return _build(
            config,
            pretrained=True,
            num_classes=outputs,
            pretrained_cfg_overlay={"state_dict": state, "num_classes": outputs, "source": ""},
        )
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model.weights: {path} does not fit model.name={config.name}: {reason}") from error


def _make_unavailable_error(config: ModelConfig, error: Exception) -> UserError:
    """Make the error that says which file is missing, and how to download it on another machine."""
    from timm.models import get_pretrained_cfg

    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    source, _, place = config.weights.rpartition(":")
    cfg: Any = get_pretrained_cfg(config.name)
    repository = place if source == "hf-hub" else (getattr(cfg, "hf_hub_id", None) or "")
    name, _, revision = repository.partition("@")
    fetch = f"hf download {name}{f' --revision {revision}' if revision else ''} --local-dir FOLDER"
    if source == "local-dir":
        what = f"the folder must contain the complete config.json and model.safetensors of {config.name}"
        how = f"download it again: {fetch.replace('FOLDER', place)}" if repository else "download it again"
    elif repository:
        what = f"it needs config.json and model.safetensors of {repository} from the Hugging Face hub"
        how = (
            f"On a machine with a network run: {fetch}; copy FOLDER here and set model.weights=local-dir:FOLDER. Or "
            "copy its hub cache, and set HF_HOME to that folder"
        )
    else:
        what = f"it needs {getattr(cfg, 'url', None) or 'a file that timm does not name'}"
        how = "download it on a machine with a network, and set model.weights=FILE"
    return UserError(
        f"model.weights={config.weights}: no pretrained weights for {config.name} ({reason}); {what}. {how}"
    )
