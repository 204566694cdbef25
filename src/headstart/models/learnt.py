"""A file that holds what a run learnt: the other tensors come from the base, the weights that the run started from.

The file states the base (network, arguments, `model.weights`) and the digest of the tensors that it leaves out. `join`
puts both together again; a base that has changed since is an error, because the network would be another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config import environment
from headstart.errors import UserError
from headstart.models.head import name_head_tensors
from headstart.models.weights import digest_tensors
from headstart.runtime.shared import derive

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.config.schema import ModelConfig

LoadBase = Callable[[str, Mapping[str, Any], str], Any]  # from name, arguments and `model.weights`: a network


def digest_unlearnt(model: Any, learnt: Collection[str]) -> dict[str, str]:
    """Digests, by name, of the tensors that no phase trains, before the first phase: of the backbone only.

    Buffers (batch-norm statistics) are among them, because they may change although nothing is trained.

    Args:
        learnt: the names of the parameters that some phase trains.

    Returns:
        Nothing if every parameter is trained: then all tensors belong to what is learnt.
    """
    if all(name in learnt for name, _ in model.named_parameters()):
        return {}
    head = name_head_tensors(model)
    names = [name for name in model.state_dict() if name not in learnt and name not in head]
    return _digest_each(model.state_dict(), names)


@dataclass(frozen=True)
class Unlearnt:
    """The tensors of a trained network that are still those of its base, and what a file says of them."""

    names: tuple[str, ...]
    base: dict[str, Any] | None  # None if there are none


def find_unlearnt(model: Any, before: Mapping[str, str], config: ModelConfig) -> Unlearnt:
    """Find the tensors that have not changed since `digest_unlearnt`, for the network of this config."""
    state = model.state_dict()
    names = tuple(sorted(name for name, digest in _digest_each(state, before).items() if digest == before[name]))
    if not names:
        return Unlearnt((), None)
    content = tuple((name, before[name]) for name in names)
    digest = derive(model, "base", content, lambda: digest_tensors({name: state[name] for name in names}))
    named = {"name": config.name, "args": config.args, "weights": config.weights}
    return Unlearnt(names, environment.hide(named) | {"digest": digest})


def join(path: Path, learnt: dict[str, Tensor], facts: Mapping[str, Any], load_base: LoadBase) -> dict[str, Tensor]:
    """All tensors of the network of which a file holds what was learnt.

    Args:
        learnt: the tensors in the file.
        facts: as `weights.read_facts` reads them.
        load_base: loads the weights of a base that is not the file itself.

    Raises:
        UserError: the base is not there, or not what it was when the file was written.
    """
    base = facts.get("base")
    if base is None:
        return learnt
    try:
        name, weights, digest = (str(base[key]) for key in ("name", "weights", "digest"))
        args = dict(base["args"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not say which base its tensors belong to ({error!r}): it is damaged") from error
    what = f"{path} holds only what its run learnt; the rest is that of its base, model.weights={weights}"
    try:
        model = load_base(name, environment.reveal(args), environment.reveal(weights))
    except (UserError, ValueError) as error:
        raise UserError(f"{what}, which cannot be used: {error}") from error
    state, head = model.state_dict(), name_head_tensors(model)
    rest = {name: state[name] for name in sorted(state) if name not in learnt and name not in head}
    if digest_tensors(rest) != digest:
        raise UserError(
            f"{what}, and these weights have changed since: together they would be another network. Bring back the "
            f"weights of {name} that it was trained on{_name_timm(facts)}, or run it again: the same command and "
            "rerun=true"
        )
    return learnt | rest


def _name_timm(facts: Mapping[str, Any]) -> str:
    versions = facts.get("versions")
    return f" (timm was {versions['timm']})" if isinstance(versions, Mapping) and "timm" in versions else ""


def _digest_each(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, str]:
    return {name: digest_tensors({name: state[name]}) for name in names}
