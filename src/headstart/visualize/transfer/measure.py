"""All that is measured of what fine-tuning changed, depth by depth."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from headstart.visualize.rows import draw_rows
from headstart.visualize.transfer.depths import Depth, has_changed, list_depths, measure_distance
from headstart.visualize.transfer.interval import Difference, compare
from headstart.visualize.transfer.outputs import compare_outputs
from headstart.visualize.transfer.rewind import Images, Rewinding

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.data.dataset import Data
    from headstart.predict.network import Network

TRAIN = 2  # training images to which heads are fitted, for each image that is looked at


@dataclass(frozen=True)
class Change:
    """What training changed at one depth.

    Attributes:
        is_changed: whether any number of it is another one than before.
        weights, statistics: by how much parameters and batch-norm statistics moved, in relation to their size.
        cka: how alike its outputs are before and after (see `headstart.visualize.transfer.cka`).
        alone: the accuracy with this depth rewound, the others and their statistics as trained.
        onward: the accuracy with this depth and all before it rewound, if all after them follows
            (`Rewinding.find_kept`). For depth 1, this is the frozen backbone with a fitted head.

    A number that cannot be had is None.
    """

    depth: Depth
    is_changed: bool
    weights: float | None
    statistics: float | None
    cka: float | None
    alone: Difference
    onward: Difference


@dataclass(frozen=True)
class Transfer:
    """What training changed: its depths from the input to depth 1, and the accuracy of the trained network."""

    changes: list[Change]
    accuracy: float
    images: int
    fitted: int  # training images to which heads were fitted

    @property
    def frozen(self) -> Difference:
        """The accuracy with the whole backbone rewound and a head fitted anew."""
        return self.changes[-1].onward

    @property
    def reach(self) -> int:
        """The greatest depth that training has changed."""
        return max(change.depth.number for change in self.changes if change.is_changed)

    def keep(self, depths: int) -> Difference:
        """The accuracy if so many depths next to the head stay as trained, and the others are rewound."""
        return next(change.onward for change in self.changes if change.depth.number == depths + 1)

    def share(self, depths: int) -> float:
        """The share of the gain over the frozen backbone that is left then; 1 is all of it."""
        return 1 - self.keep(depths).change / self.frozen.change


def is_frozen(network: Network, start: Mapping[str, Tensor]) -> bool:
    """Whether no tensor of the backbone has changed since the start."""
    state = network.network.state_dict()
    return not any(has_changed(depth, start, state) for depth in list_depths(network.network))


def measure_transfer(
    network: Network, start: Mapping[str, Tensor], data: Data, part: str, most: int, seed: int
) -> Transfer:
    """Measure what a run changed, on images of a part that training did not see.

    Args:
        start: the backbone's tensors before the run.
        most: images, at most; they are drawn.
    """
    images = {}
    for name, size in {"train": TRAIN * most, "val": most, part: most}.items():
        rows = draw_rows(len(data.parts[name]), size, seed)
        labels = torch.from_numpy(data.parts[name].labels[rows])
        images[name] = Images(data.decode_rows(name, rows.tolist()), labels)
    model = network.network
    depths, end = list_depths(model), model.state_dict()
    before = deepcopy(model)
    before.load_state_dict(start, strict=False)  # it has no head
    alike = compare_outputs(network, before, model, images[part].pixels)
    rewinding = Rewinding(network, start, depths, images, part)
    trained = rewinding.find_right()
    changes = [
        Change(
            depth,
            depth.number in rewinding.changed,
            measure_distance(depth.parameters, start, end),
            measure_distance(depth.buffers, start, end),
            alike.get(depth.number),
            compare(rewinding.find_right([depth]), trained),
            compare(rewinding.find_kept(depths[: at + 1]), trained),
        )
        for at, depth in enumerate(depths)
    ]
    return Transfer(changes, float(trained.mean()), len(trained), len(images["train"].labels))
