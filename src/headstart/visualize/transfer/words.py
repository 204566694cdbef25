"""What fine-tuning changed, in words: a table, a file of numbers, and the sentence that follows from them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from headstart.storage.plain_text import plain_row

if TYPE_CHECKING:
    from headstart.visualize.transfer.interval import Difference
    from headstart.visualize.transfer.measure import Change, Transfer

ENOUGH = 0.95  # the share of the gain that a recommended strategy has to keep
SMALL = 0.05  # a gain of which the interval reaches further than this may not be called none
HEADS = ("depth", "layers", "weights", "statistics", "CKA", "rewound alone", "pretrained up to here")
COLUMNS = (
    *("depth", "layers", "changed", "weights", "statistics", "cka"),
    *("alone_accuracy", "alone_change", "alone_interval", "onward_accuracy", "onward_change", "onward_interval"),
)
LEGEND = """\
weights, statistics: how far parameters and batch-norm statistics moved, in relation to their size
CKA: how alike a depth's outputs are before and after (1: alike up to rotation and scale), unbiased
rewound alone: by how many points accuracy changes if this depth returns to its pretrained values, statistics too, with
the 95 % interval; the head has no pretrained values, the trained one stays
pretrained up to here: the same for this depth and all before it, if what comes after them follows: statistics are
measured anew and a head is fitted, on {fitted} training images, as if the depths had been frozen all along"""


def show_change(difference: Difference) -> str:
    """An accuracy's change in points, with half of its interval."""
    return f"{100 * difference.change:+.1f} ± {100 * difference.half:.1f}"


def format_table(transfer: Transfer) -> list[str]:
    """The table as aligned lines."""
    rows = [HEADS, *(_list_cells(change) for change in transfer.changes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = 2  # columns of words
    return [
        "  ".join(
            f"{cell:<{width}}" if at < left else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _list_cells(change: Change) -> tuple[str, ...]:
    distances = (_show(value, ".3f") for value in (change.weights, change.statistics))
    alone = show_change(change.alone) if change.is_changed else "unchanged"
    cells = (str(change.depth.number), change.depth.layers, *distances, _show(change.cka, ".2f"))
    return *cells, alone, show_change(change.onward)


def _show(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def make_csv(transfer: Transfer) -> str:
    """All numbers in full precision; accuracies and their changes are shares in 0 … 1."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for change in transfer.changes:
        facts = [change.depth.number, change.depth.layers, str(change.is_changed).lower()]
        both = [value for each in (change.alone, change.onward) for value in (each.accuracy, each.change, each.half)]
        writer.writerow(plain_row([*facts, change.weights, change.statistics, change.cka, *both]))
    return text.getvalue()


def conclude(transfer: Transfer) -> str:
    """The sentence: which depths carry the gain of fine-tuning, and which strategy would therefore do.

    A network whose first depths are rewound is one that partial fine-tuning of the others could have found. So what it
    reaches, a run with `strategy=partial` can reach too, if its training finds it.
    """
    base, images = transfer.frozen, f"{transfer.images} images"
    if base.change >= 0 or not base.is_shown:
        if base.change - base.half < -SMALL:
            return (
                f"{images} are too few to say whether fine-tuning gained anything: with the pretrained backbone and a "
                f"head fitted anew, accuracy changes by {show_change(base)} points. --part test has other images, but "
                "then they can no longer test the strategy that is chosen by them."
            )
        return (
            f"Fine-tuning gained nothing that {images} show: with the pretrained backbone and a head fitted anew, "
            f"accuracy changes by {show_change(base)} points: strategy=feature_extraction should do."
        )
    gain = f"the gain of {-100 * base.change:.1f} points over the frozen backbone"
    enough = [depths for depths in range(1, transfer.reach) if transfer.share(depths) >= ENOUGH]
    if not enough:
        return f"{_name(transfer.reach)} {_carry(transfer.reach)} {gain}{_describe_first(transfer)}"
    kept = enough[0]
    return (
        f"{_name(kept)} {_carry(kept)} {_percent(transfer.share(kept))} of {gain}: "
        f"strategy=partial strategy.phases.tail.rates.last.groups={kept} should do. With all other depths back, "
        f"accuracy changes by {show_change(transfer.keep(kept))} points on {images}."
    )


def _describe_first(transfer: Transfer) -> str:
    """The end of a sentence: what becomes of the gain if only the depth next to the input is spared."""
    if transfer.reach == 1:
        return "."
    rest = transfer.keep(transfer.reach - 1)
    back = f"with depth {transfer.reach} back, {_percent(transfer.share(transfer.reach - 1))} of it is left"
    if rest.is_shown:
        return f", and none can be spared: {back}. Training may make up for it, which rewinding cannot show."
    return (
        f"; {back}, a change of {show_change(rest)} points, which may be chance: {transfer.images} images are too few "
        "to say which depths can be spared."
    )


def _name(depths: int) -> str:
    return "Depth 1" if depths == 1 else f"Depths 1–{depths}"


def _carry(depths: int) -> str:
    return "carries" if depths == 1 else "carry"


def _percent(share: float) -> str:
    return f"{100 * min(share, 1):.0f} %"
