"""Create a network by its timm name, with all of its weights or none, and with a head for the classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from headstart.errors import RunFailed, UserError, as_user_error, did_you_mean, nearest_names
from headstart.models import checkpoint, hub, learnt, published_files, tensor_order
from headstart.models import weights as stored
from headstart.models.timm_internals import find_new_name, read_folder_config
from headstart.runtime import shared
from headstart.storage.stamps import share_until_changed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from headstart.config.schema import ModelConfig


def check_name(name: str) -> None:
    """Raise UserError with the nearest names if timm has no network `name` (a `.tag` may follow the name)."""
    import timm

    base, _, tag = name.partition(".")
    if (new := find_new_name(base)) is not None:
        raise UserError(f"model.name={name}: timm calls it {new} now: use model.name={new}")
    if timm.is_model(base):
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        if not tag or tag in tags:
            return
        raise UserError(f"model.name={name}: {base} has no weights tagged {tag!r}; there are {', '.join(tags)}")
    nearest = partial(nearest_names, limit=3, cutoff=0.5)
    hint = did_you_mean(base, timm.list_models(), between=", ", nearest=nearest) or "; see timm.list_models()"
    raise UserError(
        f"model.name={name}: timm knows no such network{hint}; one of your own exists when its module is imported, "
        "such as imports=[mylab.nets]"
    )


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
        raise hub.make_unavailable_error(config, error) from error
    if name != config.name.partition(".")[0]:
        raise UserError(f"model.weights={config.weights} holds {name}, but model.name={config.name}: make them agree")
    return cfg, args or {}


def build_outline(config: ModelConfig) -> Any:
    """Build the network without memory for weights, with two outputs, to plan a strategy before data is read."""
    from headstart.models.outline import without_values

    def make() -> Any:
        with without_values():
            return build(config, num_classes=2)

    outline = shared.share("outline", repr((config.name, config.args)), make, most=4)
    shared.let_derive(outline)
    return outline


def create(config: ModelConfig, classes: tuple[str, ...], *, pretrained: bool) -> tuple[Any, list[str]]:
    """Create the network with one output per class; also returns the changes to it, as sentences.

    The head is new unless the weights come from a run, or a folder in timm's format, with the same classes. Random
    numbers come from torch's global generator.

    Raises:
        UserError: unknown name, wrong `model.args`, or weights that are missing, damaged or incomplete.
    """
    notes: list[str] = []
    if not pretrained:
        return build(config, num_classes=len(classes)), notes
    if config.weights == "none":
        raise UserError(
            "model.weights=none, but the strategy starts from pretrained weights: give it weights, or strategy=scratch"
        )
    model, notes = load_published(config)
    _refuse_nan(config, model)
    if stored.read_classes(config.weights) == list(classes):
        notes.append("head kept: the weights were trained on the same classes")
    else:
        outputs = f"head replaced: {model.num_classes} outputs" if model.num_classes else "head added: no outputs"
        notes.append(f"{outputs} -> {len(classes)} new ones")
        model.reset_classifier(len(classes))
        if stored.is_headless(config.weights):
            notes.append(f"the run's own head is a probe in its own file ({stored.PROBE}), which is not used")
    return model, notes


def read_tensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read all tensors of a network's file, and sentences on parts of it that are not used.

    The one way to the tensors of a run's weights: the file may hold only what the run learnt.

    Raises:
        UserError: the file is damaged, or its base is not what it was.
    """
    content, notes = stored.read(path)
    return learnt.join(path, content, stored.read_facts(path), _load_base), notes


def _load_base(name: str, args: Mapping[str, Any], weights: str) -> Any:
    from headstart.config.schema import ModelConfig

    return load_published(ModelConfig(name, weights, dict(args)))[0]


def load_published(config: ModelConfig) -> tuple[Any, list[str]]:
    """Load `model.weights`, with the outputs that they were trained with; also returns what was left out, in words."""
    path = stored.locate(config.weights)
    return _load_by_timm(config) if path is None else _load_file(config, path)


def _refuse_nan(config: ModelConfig, model: Any) -> None:
    bad = [name for name, tensor in model.state_dict().items() if tensor.is_floating_point() and tensor.isnan().any()]
    if bad:
        raise UserError(
            f"model.weights={config.weights}: {len(bad)} of its tensors hold NaN, the first is {bad[0]}: the training "
            "that wrote it diverged, or the file is damaged; use an earlier checkpoint"
        )


def build(config: ModelConfig, **options: Any) -> Any:
    """Build the network with random weights and the outputs that timm gives it, or as `options` say."""
    import timm

    arguments = options | config.args
    for key in options.keys() & config.args.keys() & {"pretrained_cfg_overlay"}:
        arguments[key] = config.args[key] | options[key]  # both count: one holds the input, the other the weights
    try:
        return timm.create_model(config.name, **arguments)
    except (TypeError, ValueError, AssertionError, ArithmeticError, RuntimeError, LookupError, AttributeError) as error:
        loading = isinstance(error, RuntimeError) and "pretrained_cfg_overlay" in options  # weights that do not fit
        if loading or isinstance(as_user_error(error), RunFailed):
            raise
        raise UserError(f"model.args={config.args}: {config.name} does not take them: {error}") from error


def _load_by_timm(config: ModelConfig) -> tuple[Any, list[str]]:
    """Load weights that timm finds itself, with the number of outputs that they were trained with.

    If timm finds a file whose tensors are not those of the network, the file is loaded as `_load_file` does.
    """
    import timm

    external = config.weights.startswith(("local-dir:", "hf-hub:"))
    if not external and not any(build_outline(config).pretrained_cfg.get(key) for key in ("url", "hf_hub_id", "file")):
        raise UserError(
            f"model.weights={config.weights}: there are no published weights of {config.name} with these arguments "
            f"(model.args={config.args}); use strategy=scratch, or weights of your own: a file, or run:FOLDER"
        )
    try:
        with hub.offline_if_unreachable(not config.weights.startswith("local-dir:")):
            return timm.create_model(config.weights if external else config.name, pretrained=True, **config.args), []
    except MemoryError:
        raise
    except Exception as error:
        path = published_files.find_external(config.weights) if "state_dict" in str(error) else None
        if path is not None:
            return _load_file(config, path)
        raise hub.make_unavailable_error(config, error) from error


def _load_file(config: ModelConfig, path: Path) -> tuple[Any, list[str]]:
    """Load a checkpoint file; the number of outputs is that of its head. Also returns what was left out, in sentences.

    timm translates names of other makers. What is left then is an error, unless only the head is missing, or tensors
    are left over that belong to no layer of the network.
    """
    from headstart.models.outline import without_values

    with without_values():
        model = build(config)
    content, notes = read_tensors(path)
    state, left_out, by_order = checkpoint.rename_tensors(content, model, path)
    head = f"{model.pretrained_cfg.get('classifier', 'classifier')}.weight"
    outputs = len(state[head]) if head in state else model.num_classes
    overlay = {"state_dict": state, "num_classes": outputs, "source": ""}
    try:
        model = build(config, pretrained=True, num_classes=outputs, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError) as error:
        if isinstance(as_user_error(error), RunFailed):
            raise
        model = build(config, num_classes=outputs)
        new, more = checkpoint.check_cover(state, model, path, config.name)
        used = {key: value for key, value in state.items() if key in model.state_dict() and key not in new}
        model.load_state_dict(used, strict=False)
        left_out += more
    if by_order:
        left_out += tensor_order.check_function(model, content, path, config.name)
    return model, [*notes, *left_out]


def digest_weights(config: ModelConfig) -> str:
    """Compute a digest of the content of `model.weights`; a hub's file is downloaded first if it is not in its cache.

    Raises:
        UserError: the weights are not on this machine and cannot be downloaded.
    """
    source, _, place = config.weights.partition(":")
    if config.weights != "imagenet" and source != "hf-hub":
        return stored.digest_source(config.weights)
    cfg: Any = build_outline(config).pretrained_cfg if source == "imagenet" else {"hf_hub_id": place}
    with hub.offline_if_unreachable():
        path = published_files.fetch(cfg)
    if path is None:  # torch's cache, which timm fills, or a file that timm translates itself
        model, _ = _load_by_timm(config)
        path = published_files.find_cached(cfg)
        if path is None:
            return stored.digest_tensors(model.state_dict())
    return share_until_changed("published weights", path, lambda: stored.digest_file(path))
