"""The file `probe.safetensors` in a run's folder: a head that cannot replace the network's own."""

import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from headstart.probe.base import Columns
from headstart.storage.files import write_whole


def save(head: nn.Module, path: Path) -> None:
    """Write a probe's head, completely or not at all."""
    from safetensors.torch import save_file

    columns, inner = (head[0], head[1]) if isinstance(head, nn.Sequential) else (None, head)
    facts: dict[str, Any] = {"options": getattr(inner, "options", None)}
    if columns is not None:
        facts["columns"] = [columns.start, columns.stop]
    tensors = {name: tensor.contiguous() for name, tensor in inner.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with write_whole(path, size) as part:
        save_file(tensors, part, metadata={"head": json.dumps(facts)})


def load(path: Path) -> nn.Module:
    """Read a head that `save` wrote, on the CPU."""
    from safetensors import safe_open

    from headstart.probe.knn import Neighbours

    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["head"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
    inner: nn.Module
    if facts["options"] is not None:
        inner = Neighbours(tensors["bank"], tensors["labels"], tensors["weights"], **facts["options"])
    else:
        classes, width = tensors["weight"].shape
        inner = nn.Linear(width, classes)
        inner.load_state_dict(tensors)
    columns = facts.get("columns")
    head = inner if columns is None else nn.Sequential(Columns(*columns), inner)
    return cast(nn.Module, head.eval())
