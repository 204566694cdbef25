"""Whether an image is unlike the training images: how far its features are from theirs (Sun et al. 2022, ICML).

Features are the averages of the maps of all stages, each brought to length 1: what a fine-tuned network puts out at its
end may be the same for a photograph and a digit, what its stages see is not (Lee et al. 2018, NeurIPS, use all layers
too). The score of an image is the distance to the `NEIGHBOURS`-th nearest training image. The threshold is the one
above which a share `ALARMS` of the run's validation images lie, so that as many of other images like them are marked.
(pytorch-ood's detector of Sun et al. makes the same call of scikit-learn, and takes seconds to import.)
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from headstart.errors import RunFailed, UserError
from headstart.runtime import hardware
from headstart.storage.files import write_whole
from headstart.storage.records import make_damage_error
from headstart.tracking import progress
from headstart.visualize.forward import run_to
from headstart.visualize.run_data import read_run_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headstart.data.dataset import Data
    from headstart.data.reader import ImageReader
    from headstart.predict.network import Network
    from headstart.predict.transform import AnyImage

NAME = "unlike.safetensors"  # in a run's folder
ALARMS = 0.05
NEIGHBOURS = 5
BATCH = 64  # images
MOST = 10_000  # training images whose features are kept; Sun et al. lose nothing with a hundredth of ImageNet


@dataclass(frozen=True)
class Familiar:
    """What is known of a run's training images.

    Attributes:
        features: of training images, float16 [n, d], see `compute_features`.
        threshold: of the score, above which an image is unlike them.
        n_val, n_test: validation images that chose it, and test images on which it was tried.
        alarms: the share of the test images that it marks.
    """

    features: Tensor
    threshold: float
    n_val: int
    n_test: int
    alarms: float

    def find_unlike(self, network: Network, images: Sequence[AnyImage]) -> np.ndarray:
        """Which of these images are unlike the training images, bool [n]; UserError if one cannot be read."""
        features = compute_features(network, network.transform.make_reader(images))
        return measure_distances(self.features, features) > self.threshold

    def describe(self) -> str:
        """A sentence on the threshold and what it does on the run's test images."""
        return (
            f"unlike the training images from a distance of {self.threshold:.3g} up, by {self.n_val:,} validation "
            f"images: {100 * self.alarms:.1f} % of the run's {self.n_test:,} test images are marked"
        )


def compute_features(network: Network, reader: ImageReader) -> Tensor:
    """The features of all stages for the reader's images: float16 [n, d], of length 1."""
    functions: dict[str, Any] = dict.fromkeys(list_stages(network.network), lambda maps: maps.float().mean((2, 3)))
    found = []
    with torch.inference_mode(), progress.task("features of all stages", len(reader.part)) as work:
        for rows in torch.arange(len(reader.part)).split(BATCH):
            images = network.normalize(reader(rows).to(network.device))
            with hardware.use_threads(network.hardware):
                stages = run_to(network.network, images, functions)
            parts = [torch.nn.functional.normalize(stages[name], dim=1) for name in functions if name in stages]
            found.append((torch.cat(parts, 1) / len(parts) ** 0.5).half().cpu())
            work.done += len(rows)
    return torch.cat(found)


def list_stages(model: Any) -> list[str]:
    """The names of the modules that end a stage; of a network without stages, its own: its logits are the features."""
    info = getattr(model, "feature_info", None) or []
    modules = dict(model.named_modules())
    return [each["module"] for each in getattr(info, "info", info) if each["module"] in modules] or [""]


def measure_distances(train: Tensor, features: Tensor) -> np.ndarray:
    """The distances [n] of features [n, d] to the `NEIGHBOURS`-th nearest of training features [m, d]."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), algorithm="brute").fit(train.float().numpy())
    found: np.ndarray = nearest.kneighbors(features.float().numpy())[0][:, -1]
    return found


def choose_threshold(scores: np.ndarray) -> float:
    """The largest score of an image that is not marked, by the scores [n] of validation images.

    Raises:
        UserError: there are too few of them.
    """
    place = math.ceil((len(scores) + 1) * (1 - ALARMS) - 1e-9)
    if place > len(scores):
        raise UserError(
            f"--unlike: needs {math.ceil((1 - ALARMS) / ALARMS - 1e-9)} validation images to choose a threshold, and "
            f"the run has {len(scores)}: train with more (data.val_fraction)"
        )
    return float(np.sort(scores)[place - 1])


def learn(network: Network, data: Data) -> Familiar:
    """Compute the features of a run's images, and choose the threshold.

    Raises:
        UserError: there are too few validation images.
    """
    parts = data.parts
    rows = np.sort(np.random.default_rng(0).permutation(len(parts["train"]))[:MOST])
    kept = compute_features(network, data.make_reader(parts["train"].at(rows)))
    scores = {
        name: measure_distances(kept, compute_features(network, data.make_reader(parts[name])))
        for name in ("val", "test")
        if len(parts[name])
    }
    threshold = choose_threshold(scores.get("val", np.zeros(0)))
    return Familiar(kept, threshold, len(parts["val"]), len(parts["test"]), float((scores["test"] > threshold).mean()))


def read_or_learn(network: Network) -> Familiar:
    """Read what the run's folder holds, or compute it from the run's images and put it there, if that is possible.

    Raises:
        UserError: the network is from no run, or the run's images are not there any more.
    """
    if network.folder is None:
        raise UserError(
            f"--unlike compares with the training images of a run, and {network.name} is none; an export holds nothing "
            "of its training images"
        )
    path = network.folder / NAME
    if path.is_file():
        return _read(path)
    found = learn(network, read_run_data(network))
    with suppress(RunFailed, OSError):  # of a folder that cannot be written it is computed anew the next time
        _write(path, found)
    return found


def _write(path: Path, found: Familiar) -> None:
    from safetensors.torch import save_file

    numbers = {name: repr(getattr(found, name)) for name in ("threshold", "n_val", "n_test", "alarms")}
    with write_whole(path, found.features.numel() * 2) as part:
        save_file({"features": found.features.contiguous()}, part, metadata=numbers)


def _read(path: Path) -> Familiar:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told: dict[str, Any] = file.metadata() or {}
            return Familiar(
                file.get_tensor("features"),
                float(told["threshold"]),
                int(told["n_val"]),
                int(told["n_test"]),
                float(told["alarms"]),
            )
    except (SafetensorError, OSError, LookupError, ValueError) as error:
        raise make_damage_error(path, error) from error
