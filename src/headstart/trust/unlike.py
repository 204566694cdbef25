"""Whether an image is unlike the training images: how far its features are from theirs (Sun et al. 2022, ICML).

Features are brought to length 1; the score of an image is the distance to the `NEIGHBOURS`-th nearest training image.
The threshold is the one above which a share `ALARMS` of the run's validation images lie, so that as many of other
images like them are marked. (pytorch-ood's detector of that paper makes the same call of scikit-learn, and takes
seconds to import.)
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
from headstart.storage.files import write_whole
from headstart.storage.records import make_damage_error
from headstart.visualize.run_data import read_run_data

if TYPE_CHECKING:
    from headstart.data.dataset import Data
    from headstart.predict.network import Network

NAME = "unlike.safetensors"  # in a run's folder
ALARMS = 0.05
NEIGHBOURS = 5
MOST = 10_000  # training images whose features are kept; Sun et al. lose nothing with a hundredth of ImageNet


@dataclass(frozen=True)
class Familiar:
    """What is known of a run's training images.

    Attributes:
        features: of training images, float16 [n, d], of length 1.
        threshold: of the score, above which an image is unlike them.
        n_val, n_test: validation images that chose it, and test images on which it was tried.
        alarms: the share of the test images that it marks.
    """

    features: Tensor
    threshold: float
    n_val: int
    n_test: int
    alarms: float

    def score(self, features: Tensor) -> np.ndarray:
        """The distance of each image's features, float32 [n, d], to the training images: float64 [n], from 0 to 2."""
        return measure_distances(self.features, features)

    def describe(self) -> str:
        """A sentence on the threshold and what it does on the run's test images."""
        return (
            f"unlike the training images from a distance of {self.threshold:.3g} up, by {self.n_val:,} validation "
            f"images: {100 * self.alarms:.1f} % of the run's {self.n_test:,} test images are marked"
        )


def measure_distances(train: Tensor, features: Tensor) -> np.ndarray:
    """The distances [n] of features [n, d] to the `NEIGHBOURS`-th nearest of training features [m, d] of length 1."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), algorithm="brute").fit(train.float().numpy())
    found: np.ndarray = nearest.kneighbors(_shorten(features).float().numpy())[0][:, -1]
    return found


def _shorten(features: Tensor) -> Tensor:
    """Features of length 1, in the precision in which those of the training images are kept."""
    return torch.nn.functional.normalize(features.float(), dim=1).half()


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
    kept = _shorten(network.compute_features(data.make_reader(parts["train"].at(rows))))
    scores = {
        name: measure_distances(kept, network.compute_features(data.make_reader(parts[name])))
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
