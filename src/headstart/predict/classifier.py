"""A trained network as its run tested it: batch norms folded, and in two halves where the run cached features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.evaluation.evaluate import ROWS_OF_FEATURES
from headstart.features.extractor import DTYPES
from headstart.features.inference import choose_batch_size, run_batch
from headstart.models.fold import fold_batch_norms
from headstart.runtime import hardware

if TYPE_CHECKING:
    from headstart.config.schema import HardwareConfig
    from headstart.strategy.route import Route


@dataclass(frozen=True)
class Classifier:
    """The networks that a run's test used, and how they computed; so the same images get the same numbers, to the bit.

    Attributes:
        prefix: turns images into the features that were cached; None: nothing was.
        head: turns these, or images, into logits.
        device: where both are.
        config: precision, memory format and threads, all resolved.
        batch_size: images per call.
        dtype: the precision in which features were kept; None: that of the prefix's output.
        head_rows: features per call of `head`, which may be of several batches; None: those of one batch.
    """

    prefix: nn.Module | None
    head: nn.Module
    device: torch.device
    config: HardwareConfig
    batch_size: int
    dtype: torch.dtype | None = None
    head_rows: int | None = None

    def compute(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield logits [n, classes], float32 on the CPU, for batches of normalised images: of one batch or of several.

        Args:
            batches: each of `batch_size` images, but the last one.
        """
        most = self.head_rows or self.batch_size
        group: list[Tensor] = []
        for images in batches:
            group.append(images if self.prefix is None else self.compute_features(images))
            if (len(group) + 1) * self.batch_size > most:
                yield self._compute_head(_join(group), most)
                group = []
        if group:
            yield self._compute_head(_join(group), most)

    def compute_features(self, images: Tensor) -> Tensor:
        """The prefix's output for one batch of normalised images, on the CPU."""
        assert self.prefix is not None
        features = self._run(self.prefix, images, self.batch_size)
        return features if self.dtype is None else features.to(self.dtype)

    def _compute_head(self, inputs: Tensor, most: int) -> Tensor:
        return _join([self._run(self.head, some.float(), most).float() for some in inputs.split(most)])

    def _run(self, network: nn.Module, inputs: Tensor, size: int) -> Tensor:
        with torch.inference_mode(), hardware.use_threads(self.config), hardware.autocast(self.config, self.device):
            return run_batch(network, inputs.to(self.device, non_blocking=True), self.config, size).to("cpu")


def _join(parts: list[Tensor]) -> Tensor:
    """The rows of all parts; those of a single one are not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def make_classifier(
    route: Route,
    network: Any,
    own_head: nn.Module | None,
    *,
    config: HardwareConfig,
    image_size: int,
    dtype: str = "auto",
) -> Classifier:
    """Make the classifier of a run whose last phase had this route.

    Args:
        own_head: a fitted head that is no layer of the network.
        dtype: `features.dtype` of the run.
    """
    device, form = next(network.parameters()).device, hardware.memory_format(config)
    size = choose_batch_size(image_size, device)
    head = route.make_classifier(network, own_head).eval().to(memory_format=form)
    if route.split is None:
        return Classifier(None, head, device, config, size)
    prefix = fold_batch_norms(route.split.prefix).eval().to(memory_format=form)
    rows = None if own_head is None else ROWS_OF_FEATURES
    return Classifier(prefix, head, device, config, size, DTYPES.get(dtype), rows)
