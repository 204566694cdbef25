"""Find shortcuts: a place that alone decides for a class, such as a mark that stands on nearly all of its images.

The maps propose, and the network decides. For each class, the windows are tried on which the maps of its training
images are concentrated more than those of other classes. A window is a shortcut if both hold:

- **It suffices.** Pasted on images of other classes, it turns them into the class; the same window of another class
  does not.
- **It is needed.** Covered with the mean colour of the data, fewer images of the class are recognised; with a window
  elsewhere covered, they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from headstart.data.dataset import Data
from headstart.predict.network import Network
from headstart.tracking import progress
from headstart.visualize.why.hirescam import compute_hirescam
from headstart.visualize.why.layers import choose_layer

IMAGES, EACH, LEAST = 480, 24, 4  # that are looked at: in all, of a class at most, and at least
BATCH = 32  # images at a time
SPAN, STEPS = 3, 2  # a window is a third of the side, and moves by half of itself
TRIED = 3  # windows of a class on which the network is tried
SUFFICES = NEEDED = 0.25  # shares of the images by which a shortcut must exceed its control
ROWS, COLUMNS = ("top", "", "bottom"), ("left", "", "right")

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Shortcut:
    """A place that decides for a class, and on what share of images it was seen to do so.

    Attributes:
        label: the class.
        box: the place, in an image of side `image_size`.
        pasted: share of other classes' images that become the class with this place of one of its images.
        control: the same, with this place of an image of a third class.
        covered: share of the class's images that stay with the class when the place is covered.
        elsewhere: the same, with a place of equal size covered that is far from it.
        donors, receivers: right images of the class, and of others: uint8 [n, 3, s, s].
        colour: the mean of the data, uint8 [3].
    """

    label: int
    box: Box
    image_size: int
    pasted: float
    control: float
    covered: float
    elsewhere: float
    donors: Tensor
    receivers: Tensor
    colour: Tensor

    @property
    def is_one(self) -> bool:
        """Whether the place suffices and is needed."""
        return self.pasted - self.control >= SUFFICES and self.elsewhere - self.covered >= NEEDED

    @property
    def place(self) -> str:
        """Its place in words, such as `top left`."""
        left, top, right, bottom = self.box
        x, y = ((a + b) / 2 / self.image_size for a, b in ((left, right), (top, bottom)))
        words = f"{ROWS[_third(y)]} {COLUMNS[_third(x)]}".strip()
        return words or "centre"

    def cover(self, images: Tensor) -> Tensor:
        """The images with the place covered."""
        return _cover(images, self.box, self.colour)

    def paste(self, images: Tensor) -> Tensor:
        """The images with the place of images of the class."""
        return _paste(images, self.donors, self.box)


@dataclass(frozen=True)
class Looked:
    """The training images that were looked at: uint8 [n, 3, s, s], their labels [n], and their maps' shares [n, w].

    Only images that the network gets right are among them.
    """

    pixels: Tensor
    labels: Tensor
    shares: Tensor

    def of_class(self, label: int) -> Tensor:
        return torch.nonzero(self.labels == label)[:, 0]


def find_shortcuts(network: Network, data: Data) -> tuple[list[Shortcut], Looked]:
    """Find the shortcuts of a network in the training images of its run; also returns what was looked at."""
    seen = look(network, data)
    boxes = list_boxes(network.image_size)
    means = {label: seen.shares[seen.of_class(label)].mean(0) for label in seen.labels.unique().tolist()}
    labels = [label for label in means if len(seen.of_class(label)) >= LEAST] if len(means) > 1 else []
    found = []
    with progress.task("looking for shortcuts", len(labels), "classes") as work:
        for label in labels:
            others = torch.stack([mean for other, mean in means.items() if other != label]).mean(0)
            candidates = (means[label] - others).topk(min(TRIED, len(boxes))).indices.tolist()
            best = _try_windows(network, seen, label, [boxes[at] for at in candidates])
            found += [best] if best.is_one else []
            work.done += 1
    return found, seen


def look(network: Network, data: Data) -> Looked:
    """Decode training images evenly over the classes, and map those that the network gets right."""
    part, layer = data.parts["train"], choose_layer(network)
    each = max(LEAST, min(EACH, IMAGES // len(data.classes)))
    rows = np.concatenate([_spread(np.flatnonzero(part.labels == label), each) for label in range(len(data.classes))])
    rows = rows[:IMAGES]
    kept, right, shares = [], [], []
    with progress.task("mapping training images", len(rows)) as work:
        for some in torch.from_numpy(rows).split(BATCH):
            pixels = network.decode([part.split.images[int(part.rows[row])] for row in some.tolist()])
            labels = torch.from_numpy(part.labels[some.numpy()])
            good = predict_pixels(network, pixels) == labels
            kept.append(pixels[good])
            right.append(labels[good])
            if good.any():
                images = network.normalize(pixels[good].to(network.device))
                maps = compute_hirescam(network, images, labels[good].to(network.device), layer)
                shares.append(_share_windows(maps.resize(network.image_size).clamp(min=0)))
            work.done += len(some)
    empty = torch.empty(0, len(list_boxes(network.image_size)))
    return Looked(torch.cat(kept), torch.cat(right), torch.cat(shares) if shares else empty)


def list_boxes(side: int) -> list[Box]:
    """The windows of an image, row by row."""
    width, step = _measure_windows(side)
    starts = range(0, side - width + 1, step)
    return [(x, y, x + width, y + width) for y in starts for x in starts]


def _measure_windows(side: int) -> tuple[int, int]:
    width = max(1, round(side / SPAN))
    return width, max(1, width // STEPS)


def _share_windows(density: Tensor) -> Tensor:
    """The share of each map [n, s, s] in each window: [n, windows]."""
    width, step = _measure_windows(density.shape[-1])
    sums = functional.avg_pool2d(density[:, None], width, step, divisor_override=1).flatten(1)
    return sums / density.sum((1, 2)).clamp(min=1e-12)[:, None]


def _try_windows(network: Network, seen: Looked, label: int, boxes: Sequence[Box]) -> Shortcut:
    """Try the windows on the network: the one that turns most images of other classes into this one."""
    own, rest = seen.of_class(label), torch.nonzero(seen.labels != label)[:, 0]
    rest = rest[torch.from_numpy(_spread(np.arange(len(rest)), EACH))]
    donors, receivers = seen.pixels[own], seen.pixels[rest]
    pasted = [_share_of(network, _paste(receivers, donors, box), label) for box in boxes]
    at = int(np.argmax(pasted))
    box = boxes[at]
    third = receivers.roll(len(receivers) // 2, 0)
    far = max(list_boxes(network.image_size), key=lambda other: _distance(other, box))
    colour = seen.pixels.float().mean((0, 2, 3)).round().to(torch.uint8)
    return Shortcut(
        label,
        box,
        network.image_size,
        pasted[at],
        _share_of(network, _paste(receivers, third, box), label),
        _share_of(network, _cover(donors, box, colour), label),
        _share_of(network, _cover(donors, far, colour), label),
        donors,
        receivers,
        colour,
    )


def _paste(receivers: Tensor, donors: Tensor, box: Box) -> Tensor:
    """The receivers with the window of a donor each, who take turns."""
    left, top, right, bottom = box
    new = receivers.clone()
    turns = donors[torch.arange(len(receivers)) % len(donors)]
    new[:, :, top:bottom, left:right] = turns[:, :, top:bottom, left:right]
    return new


def _cover(images: Tensor, box: Box, colour: Tensor) -> Tensor:
    """The images with the window in one colour, uint8 [3]."""
    left, top, right, bottom = box
    new = images.clone()
    new[:, :, top:bottom, left:right] = colour.view(1, 3, 1, 1)
    return new


@torch.no_grad()
def predict_pixels(network: Network, pixels: Tensor) -> Tensor:
    """The predicted class of each image, int64 [n] on the CPU."""
    batches = (network.normalize(some.to(network.device)) for some in pixels.split(BATCH))
    return torch.cat([network.module(images).argmax(1).cpu() for images in batches])


def _share_of(network: Network, pixels: Tensor, label: int) -> float:
    return float((predict_pixels(network, pixels) == label).float().mean())


def _distance(one: Box, other: Box) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """Up to so many of the rows, at even distances."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


def _third(share: float) -> int:
    return int(share > 0.4) + int(share > 0.6)
