"""Rewinding: what becomes of a network's accuracy when some of its depths return to their pretrained values.

Zhang, Bengio and Singer (2022, "Are all layers created equal?"). A depth returns with its batch-norm statistics. The
head has no pretrained values: the trained one stays.

That says what the trained network hangs on, but not which depths have to be trained. Statistics belong to the images
and to the layers before them: a depth behind others that are rewound gets inputs that its statistics do not fit, and
this alone can cost more accuracy than the training of the others gained. Had the others been frozen all along, the
statistics and the head would have followed. So for this question they follow here too: see `Rewinding.find_kept`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from headstart.features.inference import choose_batch_size, run_inference
from headstart.models.fold import fold_batch_norms
from headstart.models.split import PreLogits
from headstart.probe import Logistic
from headstart.runtime import hardware
from headstart.visualize.transfer.depths import Depth, has_changed
from headstart.visualize.transfer.statistics import renew_statistics

if TYPE_CHECKING:
    import numpy as np

    from headstart.predict.network import Network


@dataclass(frozen=True)
class Images:
    """Some images of a part, uint8 [n, 3, s, s], and their classes, int64 [n]."""

    pixels: Tensor
    labels: Tensor


@contextmanager
def restore(model: Any) -> Iterator[dict[str, Tensor]]:
    """Give the tensors of the network, which may be changed inside this context; after it they are as before."""
    state = model.state_dict()
    own = {name: tensor.clone() for name, tensor in state.items()}
    try:
        yield state
    finally:
        copy_into(state, own)


@torch.no_grad()
def copy_into(state: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Set the tensors of a network that `values` names."""
    for name, tensor in values.items():
        state[name].copy_(tensor)


@dataclass
class Rewinding:
    """Looks which images of a part a run's network gets right with some of its depths rewound.

    Attributes:
        start: the backbone's tensors before the run.
        depths: all depths of the backbone.
        images: of train, val, and of the part.
        part: the name of the part.
    """

    network: Network
    start: Mapping[str, Tensor]
    depths: Collection[Depth]
    images: Mapping[str, Images]
    part: str
    _known: dict[tuple[frozenset[int], bool], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        state = self.network.network.state_dict()
        self.changed = {depth.number for depth in self.depths if has_changed(depth, self.start, state)}

    def find_right(self, rewound: Collection[Depth] = ()) -> np.ndarray:
        """Which images the network gets right with these depths rewound and all else as trained: bool [n]."""
        return self._look_up(rewound, refit=False)

    def find_kept(self, rewound: Collection[Depth]) -> np.ndarray:
        """Which images it gets right if these depths are rewound, and what comes after them follows: bool [n].

        The batch-norm statistics that training changed are measured anew on training images, and the head is fitted
        anew, as `strategy=feature_extraction` fits one: on training images, with the penalty that is best on validation
        images. The result is a network that training with these depths frozen could have found.
        """
        return self._look_up(rewound, refit=True)

    def _look_up(self, rewound: Collection[Depth], *, refit: bool) -> np.ndarray:
        # a depth that training has not changed cannot change the answers: the same rewinding is computed once
        numbers = frozenset(depth.number for depth in rewound) & self.changed
        key = (numbers, refit and bool(numbers))
        if key not in self._known:
            network = self.network
            with restore(network.network) as state, hardware.use_threads(network.hardware):
                back = [name for depth in self.depths if depth.number in numbers for name in depth.tensors]
                copy_into(state, {name: self.start[name] for name in back})
                words = f"depths {', '.join(map(str, sorted(numbers)))} rewound" if numbers else "as trained"
                logits = self._refit(state, numbers, words) if key[1] else self._compute_logits(words)
            self._known[key] = (logits.argmax(1) == self.images[self.part].labels).numpy()
        return self._known[key]

    def _compute_logits(self, words: str) -> Tensor:
        network = self.network
        classifier = network.route.make_image_classifier(network.network, network.own_head)
        return self._infer(classifier, self.images[self.part].pixels, words)

    def _refit(self, state: Mapping[str, Tensor], rewound: Collection[int], words: str) -> Tensor:
        """Measure statistics and fit a head for the backbone as it is now; returns the logits [n, classes]."""
        network, train, val = self.network, self.images["train"], self.images["val"]
        others = [name for depth in self.depths if depth.number not in rewound for name in depth.buffers]
        moved = [name for name in others if not torch.equal(state[name].cpu(), self.start[name].cpu())]
        renew_statistics(network, moved, train.pixels)
        backbone = fold_batch_norms(PreLogits(network.network))
        features = {name: self._infer(backbone, some.pixels, words).flatten(1) for name, some in self.images.items()}
        classes = len(network.classes)
        fit = Logistic().fit(features["train"], train.labels, features["val"], val.labels, classes)
        with torch.no_grad():
            logits: Tensor = fit.head(features[self.part])
        return logits

    def _infer(self, module: nn.Module, pixels: Tensor, words: str) -> Tensor:
        """The outputs [n, ...] of a network for images, float32 on the CPU."""
        network = self.network
        module = module.eval().to(memory_format=hardware.memory_format(network.hardware))

        def read(start: int, stop: int) -> Tensor:
            return network.normalize(pixels[start:stop].to(network.device))

        rows, size = slice(0, len(pixels)), choose_batch_size(network.image_size, network.device)
        return run_inference(module, read, rows, network.hardware, words, batch_size=size).float()
