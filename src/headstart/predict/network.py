"""A trained network with everything that it needs to read images and to name what is on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from headstart.data.loader import prefetch
from headstart.data.reader import list_faults
from headstart.errors import UserError
from headstart.features.inference import choose_batch_size
from headstart.models.fold import fold_batch_norms
from headstart.models.split import PreLogits
from headstart.predict.classifier import Classifier, make_classifier
from headstart.predict.prediction import Logits, Prediction, find_top
from headstart.tracking import progress

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig
    from headstart.data.reader import ImageReader
    from headstart.predict.transform import AnyImage, Transform
    from headstart.strategy.route import Route


SHOWN = 3  # names of classes in a network's repr


@dataclass(frozen=True, kw_only=True, repr=False)
class Network:
    """What `headstart.load` returns.

    Attributes:
        name: the network's timm name.
        network: the bare timm network, with `forward_features` and `forward_head`.
        module: the plain torch network in eval mode: normalised images [n, 3, s, s] to logits [n, classes]. It contains
            `network`; nearest neighbours and heads on several stages stand behind it.
        classes: the names of the outputs.
        transform: turns a PIL image into a normalised float tensor [3, s, s].
        folder: the run's folder, or None.
        pretrained: whether the weights are trained ones; False: they are random.
        gives_probabilities: whether the softmax of the logits gives probabilities.
        route: how the run's last phase came from images to logits.
        own_head: a fitted head that is no layer of the network.
        hardware: precision, memory format and threads; all resolved.
        features_dtype: the run's `features.dtype`.
        temperature: the number that the logits are divided by for calibrated probabilities, or None.
        uncalibrated: why there is no temperature, in words.

    `predict` and `features` work on a copy with folded batch norms, made when they are first called: a change of
    `network` after that does not reach them.
    """

    name: str
    network: Any
    module: nn.Module
    classes: list[str]
    transform: Transform
    hardware: HardwareConfig
    route: Route
    own_head: nn.Module | None = None
    folder: Path | None = None
    pretrained: bool = True
    gives_probabilities: bool = True
    features_dtype: str = "auto"
    temperature: float | None = None
    uncalibrated: str = "it is no run's, so no validation images of its own tell how sure it may be"

    def __repr__(self) -> str:
        trained = "" if self.pretrained else ", random weights"
        shown = ", ".join(self.classes[:SHOWN]) + ", …" * (len(self.classes) > SHOWN)
        classes = f"{len(self.classes)} classes ({shown})"
        return f"<Network {self.name}, {classes}, {self.image_size} px, {self.device}{trained}" + (
            f",\n folder {self.folder}>" if self.folder is not None else ">"
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def image_size(self) -> int:
        """Side s of the images that the network sees, in pixels."""
        return self.transform.input.image_size

    @property
    def mean(self) -> tuple[float, float, float]:
        """The mean that is subtracted, of pixels in 0 … 1."""
        return self.transform.input.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """The deviation that pixels are divided by."""
        return self.transform.input.std

    def decode(self, images: AnyImage | Iterable[AnyImage]) -> Tensor:
        """Decode paths, PIL images or uint8 arrays [h, w, 3] to what the network sees: uint8 [n, 3, s, s].

        Raises:
            UserError: names the images that cannot be read.
        """
        return self.transform.decode(as_list(images))

    def normalize(self, pixels: Tensor) -> Tensor:
        """Turn uint8 [n, 3, s, s] into the network's input, float32, on the device of the pixels."""
        return self.transform.normalize(pixels)

    def predict(
        self,
        images: AnyImage | Iterable[AnyImage],
        top: int = 5,
        batch_size: int | None = None,
        *,
        calibrated: bool = False,
    ) -> list[Prediction]:
        """Answer for each image with its most probable classes; an image that cannot be read gets an error.

        Args:
            images: paths, PIL images or uint8 arrays [h, w, 3].
            top: how many classes.
            batch_size: images per call of the network; None: as many as the test of a run has, so that the numbers are
                those of its predictions.csv to the last bit. Another size changes them by rounding.
            calibrated: give probabilities at the run's temperature, which predictions.csv does not have: other
                numbers, the same labels in the same order.
        """
        return list(self.stream(images, top, batch_size, calibrated=calibrated))

    def stream(
        self,
        images: AnyImage | Iterable[AnyImage],
        top: int = 5,
        batch_size: int | None = None,
        *,
        calibrated: bool = False,
    ) -> Iterator[Prediction]:
        """Do what `predict` does, and yield each batch's answers as soon as they are there."""
        if not self.classes:
            raise UserError(f"{self.name} has no classes: its weights come without a head, so it can predict nothing")
        if top < 1:
            raise UserError(f"top={top}: must be a whole number above 0")
        given, temperature = as_list(images), self.get_temperature() if calibrated else 1.0
        for logits in self.compute_logits(self.transform.make_reader(given), batch_size):
            values, order = find_top(logits.values, top)
            sure = (logits.values / temperature).softmax(1) if calibrated else logits.values.softmax(1)
            shares = sure.gather(1, order) if self.gives_probabilities else values.fill_(math.nan)
            for row, best, chances in zip(logits.rows, order.tolist(), shares.tolist(), strict=True):
                image = str(given[row]) if isinstance(given[row], str | Path) else row
                if row in logits.faults:
                    yield Prediction(image, error=logits.faults[row])
                else:
                    yield Prediction(image, tuple(self.classes[at] for at in best), tuple(chances))

    def get_temperature(self) -> float:
        """The temperature; UserError in words if there is none."""
        if self.temperature is None:
            raise UserError(f"{self.folder or self.name}: has no calibrated probabilities: {self.uncalibrated}")
        return self.temperature

    def compute_logits(self, reader: ImageReader, batch_size: int | None = None) -> Iterator[Logits]:
        """Yield the outputs for the reader's images, batch by batch."""
        classifier = self._classifier
        n, start = len(reader.part), 0
        if batch_size is not None:
            classifier = replace(classifier, batch_size=limit_batch(batch_size, n))
        faults: dict[int, str] = {}
        with progress.task("predicting", n) as work:
            for values in classifier.compute(self._read(reader, classifier.batch_size, faults)):
                work.done = start + len(values)
                rows = range(start, start + len(values))
                yield Logits(rows, values, {row: faults.pop(row) for row in rows if row in faults})
                start += len(values)

    def features(self, images: AnyImage | Iterable[AnyImage], batch_size: int | None = None) -> Tensor:
        """Compute the input of the head, float32 [n, d] on the CPU.

        Raises:
            UserError: names the images that cannot be read.
        """
        return self.compute_features(self.transform.make_reader(as_list(images)), batch_size)

    def compute_features(self, reader: ImageReader, batch_size: int | None = None) -> Tensor:
        """Do what `features` does, for the reader's images."""
        extractor, faults = self._extractor, dict[int, str]()
        if batch_size is not None:
            extractor = replace(extractor, batch_size=limit_batch(batch_size, len(reader.part)))
        with progress.task("features", len(reader.part)) as work:
            found = []
            for batch in self._read(reader, extractor.batch_size, faults):
                found.append(extractor.compute_features(batch).flatten(1).float())
                work.done += len(batch)
        if faults:
            raise UserError(f"{len(faults)} of {work.done} images cannot be read:{list_faults(reader.part, faults)}")
        return torch.cat(found) if found else torch.empty(0)

    def _read(self, reader: ImageReader, size: int, faults: dict[int, str]) -> Iterator[Tensor]:
        """Yield normalised batches [b, 3, s, s] on the device; faults of images are added to `faults`.

        A thread decodes in advance for a GPU. On a CPU, decoding keeps all cores busy in its turn, as the network does:
        nothing would be gained (`python -m benchmarks predict`).
        """
        rows = torch.arange(len(reader.part)).split(size) if len(reader.part) else ()
        in_order = map if self.device.type == "cpu" else prefetch
        for pixels, bad in in_order(reader.read_rows, rows):
            faults |= bad
            yield self.transform.normalize(pixels.to(self.device, non_blocking=True))

    @cached_property
    def _classifier(self) -> Classifier:
        return make_classifier(
            self.route,
            self.network,
            self.own_head,
            config=self.hardware,
            image_size=self.image_size,
            dtype=self.features_dtype,
        )

    @cached_property
    def _extractor(self) -> Classifier:
        """The network up to the input of its head."""
        if self._classifier.prefix is not None and self.route.name == "probe":
            return self._classifier
        prefix = fold_batch_norms(PreLogits(self.network)).eval()
        size = choose_batch_size(self.image_size, self.device)
        return Classifier(prefix, nn.Identity(), self.device, self.hardware, size)


def limit_batch(size: int, images: int) -> int:
    """The batch size that was asked for, or the number of images if they are fewer."""
    if size < 1:
        raise UserError(f"batch_size={size}: must be a whole number above 0")
    return min(size, max(images, 1))


def as_list(images: AnyImage | Iterable[AnyImage]) -> list[AnyImage]:
    """The images as a list; one alone becomes a list of one."""
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]
    return list(images)
