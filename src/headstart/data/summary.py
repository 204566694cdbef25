"""What a run would read: its parts, classes, image sizes and formats, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.checks import find_duplicates, list_once
from headstart.data.headers import Header, read_headers
from headstart.data.splits import Part

if TYPE_CHECKING:
    from headstart.config.schema import DataConfig
    from headstart.data.dataset import Data

CHOOSES = ("train_per_class", "train_fraction", "n_train", "n_test", "group", "folds", "fold")
Pairs = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Problem:
    """Something wrong with an image: the kind, the image's name, and the other image or the reason."""

    kind: str
    image: str
    detail: str


class Summary:
    """What is known of the images of a run from their labels, headers and bytes; nothing is decoded."""

    def __init__(self, data: Data) -> None:
        self.classes, self.parts = data.classes, dict(data.parts)
        self.headers: dict[str, list[Header]] = {name: read_headers(part) for name, part in data.parts.items()}

    @cached_property
    def counts(self) -> np.ndarray:
        """int64 [classes, parts]: images of each class in each part."""
        counts = [np.bincount(part.labels, minlength=len(self.classes)) for part in self.parts.values()]
        return np.stack(counts, axis=1)

    @cached_property
    def unreadable(self) -> dict[str, dict[int, str]]:
        """By part: the fault of each image whose header cannot be read, by row."""
        return {
            name: {row: header.fault for row, header in enumerate(headers) if header.fault}
            for name, headers in self.headers.items()
        }

    @cached_property
    def readable(self) -> dict[str, Part]:
        """The parts without these images."""
        return {
            name: part.at(np.setdiff1d(np.arange(len(part)), list(self.unreadable[name])))
            for name, part in self.parts.items()
        }

    @cached_property
    def duplicates(self) -> Pairs:
        """Pairs of readable images that are the same, byte for byte; see `find_duplicates`."""
        return find_duplicates(self.readable, self.classes)

    @cached_property
    def repeats(self) -> dict[str, list[tuple[str, str]]]:
        """By part: images that stand in it before, with the same label: (name, the earlier one's)."""
        return {name: _find_repeats(part) for name, part in self.readable.items()}

    @cached_property
    def problems(self) -> list[Problem]:
        """All that is wrong, image by image."""
        kinds = {f"in {name} and test": pairs for name, pairs in _by_part(self.duplicates).items()}
        kinds |= {"under two labels": self.duplicates["two_labels"]}
        kinds |= {f"twice in {name}": pairs for name, pairs in self.repeats.items()}
        faults = [
            Problem(f"unreadable in {name}", self.parts[name].names[row], fault)
            for name, rows in self.unreadable.items()
            for row, fault in rows.items()
        ]
        return faults + [Problem(kind, one, other) for kind, pairs in kinds.items() for one, other in pairs]

    def describe_images(self) -> list[str]:
        """Sizes, formats and modes of all images whose headers could be read."""
        known = [header for headers in self.headers.values() for header in headers if not header.fault]
        if not known:
            return []
        sides = {"width": [header.width for header in known], "height": [header.height for header in known]}
        ranges = [_describe_range(side, px) for side, px in sides.items()]
        kinds = (Counter(header.format for header in known), Counter(header.mode for header in known))
        formats, modes = (", ".join(f"{name} {count:,}" for name, count in kind.most_common()) for kind in kinds)
        return [f"sizes in pixels: {', '.join(ranges)}", f"formats: {formats}", f"modes: {modes}"]

    def describe_problems(self, most: int = 3) -> list[str]:
        """A line for each kind of problem with its number and its first images; one line if there are none."""
        kinds: dict[str, list[Problem]] = {}
        for problem in self.problems:
            kinds.setdefault(problem.kind, []).append(problem)
        lines = []
        for kind, found in kinds.items():
            title = f"{len(found):,} image{'s' * (len(found) > 1)} {kind}"
            limit = 10 if kind == "under two labels" else most
            if kind.endswith("and test"):
                known = list_once([(problem.image, problem.detail) for problem in found], self.duplicates["two_labels"])
                found = [problem for problem in found if (problem.image, problem.detail) in known]
            lines.append(f"{title}:" if found else f"{title}; the pairs are listed with their labels")
            between = ": " if kind.startswith("unreadable") else "  =  "
            lines += [f"    {problem.image}{between}{problem.detail}" for problem in found[:limit]]
            lines += ["    …"] * (len(found) > limit)
        return lines or ["no unreadable header, no image twice, none under two labels"]


def describe_choice(config: DataConfig) -> str:
    """The options that decide which images are used and in which part."""
    chosen = {key: getattr(config, key, None) for key in CHOOSES}
    budget = [f"data.{key}={value}" for key, value in chosen.items() if value is not None]
    used = ", ".join(budget) or "all images"
    return (
        f"used: {used}; where the source has no part of its own: data.val_fraction={config.val_fraction:g}, "
        f"data.test_fraction={config.test_fraction:g}; data.split_seed={config.split_seed}"
    )


def choose_rows(totals: Sequence[int], most: int, few: int) -> tuple[list[int], int]:
    """Which classes to show: all if they are at most `most`, else the `few` largest and the `few` smallest.

    Returns:
        Their places in falling order of size (in their own order if all are shown), and how many are left out between
        the largest and the smallest.
    """
    if len(totals) <= most:
        return list(range(len(totals))), 0
    ordered = sorted(range(len(totals)), key=lambda at: -totals[at])
    return ordered[:few] + ordered[-few:], len(totals) - 2 * few


def _describe_range(side: str, px: Sequence[int]) -> str:
    if min(px) == max(px):
        return f"{side} {px[0]}"
    return f"{side} {min(px)} … {max(px)} (median {median_low(px)})"


def _by_part(duplicates: Mapping[str, list[tuple[str, str]]]) -> Pairs:
    return {key.removesuffix("_test"): pairs for key, pairs in duplicates.items() if key.endswith("_test")}


def _find_repeats(part: Part) -> list[tuple[str, str]]:
    first: dict[tuple[str, int], int] = {}
    names, found = part.names, []
    for row, key in enumerate(zip(part.ids, part.labels.tolist(), strict=True)):
        earlier = first.setdefault(key, row)
        if earlier != row:
            found.append((names[row], names[earlier]))
    return found
