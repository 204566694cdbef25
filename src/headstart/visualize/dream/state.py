"""The state of a dream in a file, from which a killed one goes on."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from headstart.storage.files import write_whole

if TYPE_CHECKING:
    from headstart.predict.network import Network

log = logging.getLogger(__name__)


@dataclass
class Dream:
    """Where the work is: the octaves that are done, what they have added [3, h, w], and the frames so far.

    Attributes:
        norms: the norm of the layers' maps before the first and before the last step of each octave.
    """

    done: int = 0
    detail: Tensor | None = None
    frames: list[np.ndarray] = field(default_factory=list)
    norms: list[tuple[float, float]] = field(default_factory=list)


def name_state(network: Network, image: Image.Image, folder: Path, **settings: object) -> Path:
    """The file for the state of this work: its name is a digest of everything that the result depends on."""
    digest = hashlib.blake2b(digest_size=8)
    for parameter in network.module.state_dict().values():
        digest.update(parameter.cpu().reshape(-1).view(torch.uint8).numpy())
    digest.update(repr(image.size).encode() + image.tobytes())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return folder / f".dream-{digest.hexdigest()}.safetensors"


def write_state(path: Path, way: Dream) -> None:
    """Write the state, completely or not at all."""
    assert way.detail is not None
    tensors = {"detail": way.detail, "norms": torch.tensor(way.norms, dtype=torch.float64)}
    if way.frames:
        tensors["frames"] = torch.from_numpy(np.stack(way.frames)).contiguous()
    with write_whole(path) as part:
        save_file(tensors, part, {"done": str(way.done)})


def read_state(path: Path) -> Dream:
    """Read the state; one that is missing or damaged is an empty one."""
    if not path.is_file():
        return Dream()
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            frames = list(file.get_tensor("frames").numpy()) if "frames" in names else []
            norms = [(first, last) for first, last in file.get_tensor("norms").tolist()]
            return Dream(int(file.metadata()["done"]), file.get_tensor("detail"), frames, norms)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        log.warning("%s cannot be read (%s): from the beginning", path, error)
        return Dream()
