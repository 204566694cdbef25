"""What is wrong with the images of a run: files that cannot be read, and images that stand twice.

Every image file is decoded once before anything learns from its part, so that a broken test image is found in the
first minutes and not after hours of training. Where images are held in memory that costs no second pass: the pixels
are kept for whoever needs them.
The ids of what could be decoded are remembered in the cache, so that a run whose features are on disk still decodes
nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.config.words import count
from headstart.data.dataset import Data
from headstart.data.filenames import escape_name, list_names
from headstart.data.ids import pack_ids, unpack_ids
from headstart.data.reader import list_faults
from headstart.data.source import is_encoded
from headstart.distributed import comm
from headstart.errors import UserError
from headstart.storage.shards import Bytes, Shards

if TYPE_CHECKING:
    from headstart.data.splits import Part

log = logging.getLogger(__name__)


class Decodable:
    """The ids of image files that these decoders could decode, sorted, in shards; ``folder`` None remembers nothing."""

    def __init__(self, folder: Path | None) -> None:
        import PIL

        decoders = f"pillow-{PIL.__version__}-simplejpeg-{version('simplejpeg')}"
        self._shards = None
        if folder is not None:
            self._shards = Shards(
                folder / "images" / decoders,
                Bytes(".ids"),
                damaged="{path} is damaged and is not used; the images that it knew are checked again",
                full="the next run checks its images again: {error}",
            )

    def read(self) -> set[str]:
        """All ids known."""
        contents = () if self._shards is None else self._shards.read()
        return set().union(*map(unpack_ids, contents))

    def write(self, ids: set[str]) -> None:
        """Add ids; a full disk costs the memory of them, not the run."""
        if self._shards is not None and ids:
            self._shards.write(pack_ids(ids))


def check_images(data: Data, on_bad_image: str, cache_dir: Path | None) -> None:
    """Decode every image file that was never decoded before; to be called before anything looks at a part.

    Bad images raise UserError, or are left out of train and val; a bad test image is an error in any case.

    Args:
        on_bad_image: ``raise`` or ``skip``.
        cache_dir: where it is remembered which files could be decoded, or None.
    """
    files = {name: part for name, part in data.parts.items() if is_encoded(part.split.images)}
    memory = Decodable(cache_dir)
    known = memory.read() if files else set()
    bad = {name: _faults(data, name, part, known) for name, part in files.items()}
    if comm.is_first():
        good = {id_ for name, part in files.items() for row, id_ in enumerate(part.ids) if row not in bad[name]}
        memory.write(good - known)
    if bad.get("test") or (on_bad_image == "raise" and any(bad.values())):
        _refuse(data, bad, skip=on_bad_image == "skip")
    for name, rows in bad.items():
        if rows:
            _leave_out(data, name, rows)


def _faults(data: Data, name: str, part: Part, known: set[str]) -> dict[int, str]:
    """What is wrong with a part's image files, by row; where all had to be decoded, the part keeps their pixels."""
    rows = np.array([row for row, id_ in enumerate(part.ids) if id_ not in known], dtype=np.int64)
    if not len(rows):
        return {}
    reader, began = data.make_reader(part.at(rows)), time.monotonic()
    if data.streamed or len(rows) < len(part):
        bad = reader.find_faults()
    else:
        images, bad = reader.read_with_faults()
        if not bad:
            data.set_images(name, images, time.monotonic() - began)
    return {int(rows[row]): reason for row, reason in bad.items()}


def _refuse(data: Data, bad: Mapping[str, Mapping[int, str]], skip: bool) -> None:
    counts = [f"{len(rows)} of {len(data.parts[name])} {name} images" for name, rows in bad.items() if rows]
    hint = (
        "a test image is never left out"
        if skip
        else "data.on_bad_image=skip leaves out those of train and val, never of test"
    )
    lines = [f"\n  {name}:{list_faults(data.parts[name], rows, '    ')}" for name, rows in bad.items() if rows]
    raise UserError(f"{' and '.join(counts)} cannot be read; repair or remove them ({hint}):{''.join(lines)}")


def _leave_out(data: Data, name: str, bad: Mapping[int, str]) -> None:
    part = data.parts[name]
    kept = part.at(np.setdiff1d(np.arange(len(part)), list(bad)))
    counts = np.bincount(kept.labels, minlength=len(data.classes))
    lost = [data.classes[c] for c in np.unique(part.labels) if not counts[c]]
    if name == "train" and lost:
        raise UserError(f"every train image of class '{lost[0]}' is bad; repair them:{list_faults(part, bad)}")
    if not len(kept):
        raise UserError(f"every {name} image is bad; repair them:{list_faults(part, bad)}")
    log.warning(
        "data.on_bad_image=skip: %d of %d %s images are left out:%s", len(bad), len(part), name, list_faults(part, bad)
    )
    if lost:
        log.warning("classes without an image in %s now: %s", name, list_names(lost))
    data.leave_out(name, bad)


def find_duplicates(parts: Mapping[str, Part], classes: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Pairs of images that are the same, byte for byte, by what is wrong with them.

    `train_test`, `val_test`: test images that stand in train or val too: (test's name, the other's), by test's rows.
    `two_labels`: images with another label than an earlier one of any part; both names with their class and part.
    """
    found = {f"{name}_test": list(_shared(parts["test"], parts[name])) for name in ("train", "val")}
    return found | {"two_labels": list(_two_labels(parts, classes))}


def _shared(test: Part, other: Part) -> Iterator[tuple[str, str]]:
    places = {id_: row for row, id_ in reversed(list(enumerate(other.ids)))}
    for row, id_ in enumerate(test.ids):
        if id_ in places:
            yield test.split.names[test.rows[row]], other.split.names[other.rows[places[id_]]]


def _two_labels(parts: Mapping[str, Part], classes: Sequence[str]) -> Iterator[tuple[str, str]]:
    first: dict[str, tuple[str, int, int]] = {}  # by id: part, row, label

    def describe(name: str, row: int, label: int) -> str:
        part = parts[name]
        return f"{part.split.names[part.rows[row]]} ({escape_name(classes[label])}, {name})"

    for name, part in parts.items():
        for row, (id_, label) in enumerate(zip(part.ids, part.labels.tolist(), strict=True)):
            known = first.setdefault(id_, (name, row, label))
            if known[2] != label:
                yield describe(*known), describe(name, row, label)


def warn_of_duplicates(found: Mapping[str, list[tuple[str, str]]]) -> None:
    """A warning for each kind of pairs that there are: the first three, or ten where labels contradict each other."""
    for key, pairs in found.items():
        if not pairs:
            continue
        if key == "two_labels":
            limit, verb = 10, "has" if len(pairs) == 1 else "have"
            problem = f"{count(len(pairs), 'image')} {verb} another label than the same image, byte for byte, elsewhere"
        else:
            limit, verb = 3, "stands" if len(pairs) == 1 else "stand"
            problem = f"{count(len(pairs), 'test image')} {verb} in {key.removesuffix('_test')} too, byte for byte"
            pairs = list_once(pairs, found["two_labels"])
        shown = "".join(f"\n    {one}  =  {other}" for one, other in pairs[:limit])
        more = "\n    …" * (len(pairs) > limit)
        log.warning("  %s%s", problem, f":{shown}{more}" if shown else "; the pairs are listed with their labels")


def list_once(pairs: Sequence[tuple[str, str]], two_labels: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs (test's name, the other's) that are not listed already as those with two labels."""
    listed = {frozenset(name.rpartition(" (")[0] for name in pair) for pair in two_labels}
    return [pair for pair in pairs if frozenset(pair) not in listed]
