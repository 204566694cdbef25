"""What is said and drawn of shortcuts."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from headstart.config.words import count
from headstart.data.dataset import Data
from headstart.data.filenames import escape_name
from headstart.predict.network import Network
from headstart.visualize.why.hirescam import has_gradient
from headstart.visualize.why.sheet import RIGHT, WRONG, Panel, Sheet
from headstart.visualize.why.shortcuts import Looked, Shortcut, find_shortcuts, predict_pixels

SHOWN = 4  # pairs of images of each shortcut


def report(network: Network, data: Data) -> Sheet | None:
    """Print the shortcuts of a run; returns a sheet that shows them, or None if there are none."""
    if not has_gradient(network):
        print("shortcuts are not looked for: the maps that say where need a gradient, which nearest neighbours lack")
        return None
    found, seen = find_shortcuts(network, data)
    print("\n".join(describe(found, seen, network.classes)))
    return draw(network, found) if found else None


def describe(found: list[Shortcut], seen: Looked, classes: list[str]) -> list[str]:
    """A sentence for each shortcut, or one that there is none."""
    if not found:
        images, names = count(len(seen.labels), "training image"), count(len(seen.labels.unique()), "class")
        return [f"shortcuts: no place alone decides for a class ({images} of {names} looked at, all predicted right)"]
    return [_describe_one(each, escape_name(classes[each.label])) for each in found]


def _describe_one(found: Shortcut, name: str) -> str:
    return (
        f"shortcut: class {name}, {found.place}: pasted on {count(len(found.receivers), 'image')} of other classes, "
        f"this place turns {_percent(found.pasted)} into {name} (the same place of a third class: "
        f"{_percent(found.control)}); covered, {_percent(found.covered)} of {len(found.donors)} images stay {name} "
        f"(covered elsewhere: {_percent(found.elsewhere)})"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def draw(network: Network, found: list[Shortcut]) -> Sheet:
    """Draw images of the class as they are and covered, and of other classes as they are and pasted on."""
    groups, classes = [], [escape_name(name) for name in network.classes]
    for each in found:
        own, others = each.donors[:SHOWN], each.receivers[:: max(1, len(each.receivers) // SHOWN)][:SHOWN]
        pairs = [(own, each.cover(own)), (others, each.paste(others))]
        for before, after in pairs:
            answers = [predict_pixels(network, pixels).tolist() for pixels in (before, after)]
            groups += [
                [
                    _panel(before[at], classes[answers[0][at]], each, RIGHT),
                    _panel(after[at], f"→ {classes[answers[1][at]]}", each, WRONG),
                ]
                for at in range(len(before))
            ]
    names = ", ".join(f"{classes[each.label]}: {each.place}" for each in found)
    return Sheet(
        f"A place that alone decides: {names}",
        groups,
        ["the frame is covered with the mean colour, or pasted on images of other classes; the arrow is what follows"],
        across=SHOWN,
    )


def _panel(pixels: Tensor, text: str, found: Shortcut, ink: tuple[int, int, int]) -> Panel:
    return Panel(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()), text, ink=ink, box=found.box)
