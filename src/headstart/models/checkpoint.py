"""Make the tensors of a checkpoint fit a network: which part of the file, under which names, and what is left out.

Files of training scripts hold more than one network's tensors: an optimizer, an average of the weights, a teacher, a
second encoder, the layers of a self-supervised task. What is chosen, and what is left out, is told in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headstart.errors import UserError
from headstart.models.head import name_head

if TYPE_CHECKING:
    from torch import Tensor, nn

# Parts of a file, the best first: an average of the weights, then the networks of self-supervised methods that their
# authors evaluate (DINO's teacher, MoCo's encoder_q and base_encoder, BYOL's online network), then the usual names.
PARTS = ("state_dict_ema", "model_ema", "ema", "teacher", "encoder_q", "base_encoder", "online", "state_dict", "model")
OTHER_STATE = ("optim", "sched", "scaler", "loss", "callback", "hyper", "arg", "config")  # no network's tensors


def unwrap(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Find the tensors of one network in what a file holds; also returns which part was chosen among several.

    Raises:
        UserError: no tensors, or several parts of which none is known to be the right one.
    """
    from torch import Tensor

    notes: list[str] = []
    while isinstance(content, Mapping):
        parts = {str(name): part for name, part in content.items() if _has_tensors(part, str(name))}
        if not parts:
            tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors, notes
            break
        chosen = _choose(parts, PARTS)
        if chosen is None:
            raise UserError(
                f"model.weights: {path} holds several networks ({', '.join(parts)}); save the one that you want alone: "
                f"torch.save(torch.load({path.name!r}, weights_only=True)[{next(iter(parts))!r}], 'one.pth')"
            )
        if len(parts) > 1:
            others = ", ".join(name for name in parts if name != chosen)
            notes.append(f"{path.name}: its part {chosen} is used, not {others}")
        content = parts[chosen]
    raise UserError(f"model.weights: {path} holds no tensors by name; save the network's state_dict")


def _has_tensors(part: Any, name: str) -> bool:
    from torch import Tensor

    if not isinstance(part, Mapping) or any(word in name.lower() for word in OTHER_STATE):
        return False
    return any(isinstance(value, Tensor) or _has_tensors(value, str(key)) for key, value in part.items())


def _choose(names: Iterable[str], preferred: Iterable[str]) -> str | None:
    """The only name, or the one of the first preferred word that one name alone has."""
    names = list(names)
    if len(names) == 1:
        return names[0]
    for word in preferred:
        having = [name for name in names if word == name or word in name.split(".")]
        if len(having) == 1:
            return having[0]
    return None


def rename_tensors(state: dict[str, Tensor], model: nn.Module, path: Path) -> tuple[dict[str, Tensor], list[str], bool]:
    """Give the tensors the names of `model`'s tensors, as far as they are its tensors.

    By name, after a prefix such as `module.` or `encoder.`; if no name agrees, by order if all shapes agree. A network
    whose published tensors have other names translates them first (`published_names`).

    Returns:
        The tensors, sentences on what was left out, and whether the names were given by order.
    """
    own = model.state_dict()
    if hasattr(model, "published_names"):
        state = cast(Any, model).published_names(state)
    prefix = _find_prefix(state, own, path)
    if prefix is not None:
        inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        return inside, _describe_rest(path, [name for name in state if not name.startswith(prefix)], prefix), False
    head = name_head(model)  # it may have another number of outputs
    shapes = [(tensor.shape[1:] if key in head else tensor.shape) for key, tensor in own.items()]
    if len(own) == len(state) and shapes == [
        (tensor.shape[1:] if key in head else tensor.shape) for key, tensor in zip(own, state.values(), strict=True)
    ]:
        return dict(zip(own, state.values(), strict=True)), [], True
    raise UserError(f"model.weights: {path} has no tensor of {type(model).__name__}; is it for another network?")


def _find_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> str | None:
    """The text before most of the network's names in the file (often none); None if no name agrees."""
    counts: dict[str, int] = {}
    for name in state:
        parts = name.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in own:
                prefix = "".join(f"{part}." for part in parts[:at])
                counts[prefix] = counts.get(prefix, 0) + 1
    if not counts:
        return None
    most = max(counts.values())
    rivals = [prefix for prefix, count in counts.items() if count > most / 2]
    chosen = "" if "" in rivals else _choose(rivals, PARTS)
    if chosen is None:
        raise UserError(
            f"model.weights: {path} holds several networks of this kind, whose tensors begin with "
            f"{' and '.join(rivals)}; save only those of the one that you want, without that beginning"
        )
    return chosen


def _describe_rest(path: Path, names: list[str], prefix: str = "") -> list[str]:
    """The sentence that says which tensors of a file are not used."""
    if not names:
        return []
    of = f" (its tensors {prefix}… are used)" if prefix else ""
    return [f"left out of {path.name}: {len(names)} tensors{of}: {', '.join(names[:3])}{', …' if names[3:] else ''}"]


def check_cover(state: Mapping[str, Tensor], model: nn.Module, path: Path, name: str) -> tuple[set[str], list[str]]:
    """Check that the tensors are all of the network's but its head's; also returns sentences on what is not used.

    Tensors that no layer of the network has are left out if they are beside its layers (a projection, a queue). Inside
    one of them, they belong to another network, which would compute something else.

    Raises:
        UserError: a tensor of the backbone is missing or has another shape, or a layer has one too many.
    """
    own, head = model.state_dict(), name_head(model)
    body = {key: value for key, value in own.items() if key not in head and not key.endswith("num_batches_tracked")}
    lacking = [key for key in body if key not in state]
    shapes = [key for key in body if key in state and state[key].shape != body[key].shape]
    layers = {key.rpartition(".")[0].partition(".")[0] or key for key in body}
    stems = {key.rpartition(".")[0] for key in head}
    spare = [key for key in state if key not in own]
    foreign = [
        key
        for key in spare
        if key.partition(".")[0] in layers and not any(key.startswith(f"{stem}.") for stem in stems)
    ]
    for keys, words in ((lacking, "lacks"), (shapes, "has another shape of"), (foreign, "has, unlike this network,")):
        if keys:
            listed = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if keys[3:] else "")
            raise UserError(f"model.weights: {path} does not fit model.name={name}: it {words} {listed}")
    headless = {key for key in head if key not in state or state[key].shape != own[key].shape}
    notes = _describe_rest(path, spare)
    if headless:
        notes.append(f"{path.name} has no head for {name} ({', '.join(sorted(headless))}): the head is new")
    return headless, notes
