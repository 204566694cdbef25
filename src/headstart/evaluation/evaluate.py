"""The outputs of a trained network on images or cached features; every process computes its share of the rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.context import Context
from headstart.data.loader import Pixels
from headstart.distributed import comm
from headstart.features.extractor import Extractor, open_extractor
from headstart.features.inference import choose_batch_size, run_inference
from headstart.probe import head_file
from headstart.runtime import hardware
from headstart.strategy.route import Route
from headstart.training.outcome import Outcome

ROWS_OF_FEATURES = 1024  # per batch, for a head that is no layer of the network


@dataclass(frozen=True)
class Evaluation:
    """The last phase of a run, ready to be tested: its route, its feature extractor, and its head if it is separate."""

    context: Context
    route: Route
    extractor: Extractor | None
    own_head: nn.Module | None

    def compute_logits(self, pixels: Pixels, part: str) -> Tensor:
        """Outputs [n, classes] for a part of the run's images, from cached features if the phase used them."""
        network = self.route.make_classifier(self.context.model, self.own_head)
        if self.extractor is None:
            return self._on_images(network, pixels, part)
        features = self.extractor(pixels, part)
        size = choose_batch_size(self.context.data.image_size, self.context.device)

        def batches(mine: slice) -> Callable[[int, int], Tensor]:
            return lambda start, stop: features[start:stop].float()

        return self._infer(network, batches, len(pixels), part, size if self.own_head is None else ROWS_OF_FEATURES)

    def compute_uncached_logits(self, pixels: Pixels) -> Tensor:
        """Outputs [n, classes] for images that are not part of the run's data; their features are not cached."""
        network = self.route.make_image_classifier(self.context.model, self.own_head)
        return self._on_images(network, pixels, "measure")

    def time_logits(self, pixels: Pixels, part: str) -> tuple[Tensor, float | None]:
        """The outputs, and the milliseconds per image, without decoding, if the whole network ran; else None."""
        if self.extractor is not None or pixels.streamed:
            return self.compute_logits(pixels, part), None
        pixels.images  # noqa: B018 the first use decodes them, so that decoding is not timed
        began = time.monotonic()
        scores = self.compute_logits(pixels, part)
        return scores, 1000 * (time.monotonic() - began) / len(pixels)

    def _on_images(self, network: nn.Module, pixels: Pixels, part: str) -> Tensor:
        context = self.context
        size = choose_batch_size(context.data.image_size, context.device)
        preprocess, workers = context.preprocess().eval(), context.config.hardware.workers

        def batches(mine: slice) -> Callable[[int, int], Tensor]:
            rows = torch.arange(len(pixels))[mine]
            images = pixels.batches(rows, size, workers=workers, pin=context.device.type == "cuda")
            return lambda start, stop: preprocess(next(images).to(context.device, non_blocking=True))

        return self._infer(network, batches, len(pixels), part, size)

    def _infer(
        self,
        network: nn.Module,
        batches: Callable[[slice], Callable[[int, int], Tensor]],
        rows: int,
        part: str,
        size: int,
    ) -> Tensor:
        config = self.context.config.hardware
        network = network.to(memory_format=hardware.memory_format(config))

        def outputs(mine: slice) -> Tensor:
            return run_inference(network, batches(mine), mine, config, part, batch_size=size).float()

        return comm.compute_in_shares(rows, outputs)


def prepare_evaluation(context: Context, route: Route, outcome: Outcome, extractor: Extractor | None) -> Evaluation:
    """Prepare the evaluation of a run whose last phase has this route and outcome.

    Args:
        extractor: of the phase, if this attempt fitted it.
    """
    if extractor is None and route.split is not None:
        extractor = open_extractor(context, route.split)
    own_head = None if outcome.probe_digest is None else head_file.load(context.probe_head).to(context.device)
    return Evaluation(context, route, extractor, own_head)
