"""The pixels of a run's test images, read again where its data set is still the one that the run saw."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from headstart.errors import UserError
from headstart.report.study.configs import load_config
from headstart.report.study.read import Run
from headstart.storage.plain_text import escape_controls, plain_cell, read_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from PIL.Image import Image

    from headstart.config.schema import RunConfig
    from headstart.data.splits import Part

MOST_READ = 2_000_000_000  # bytes that are read to see whether a data set is the run's; 4 s from a fast disk
SAMPLE = 32  # images whose bytes tell how much a table holds
DRAFT = 512  # side that a JPEG file is decoded to at least


@dataclass(frozen=True)
class RunImages:
    """The test images of a run, whose digest was found to be the run's."""

    part: Part

    def open(self, row: int) -> Image | np.ndarray:
        """One image as its source gives it, not decoded if it is a file."""
        return self.part.split.images[int(self.part.rows[row])]

    def path(self, row: int) -> str | None:
        """The file of one image; None where it has none of its own, or its path holds what is kept secret."""
        from headstart.config.environment import hide_in_text
        from headstart.data.source import FileImages

        images = self.part.split.images
        path = str(images.paths[int(self.part.rows[row])]) if isinstance(images, FileImages) else None
        return path if path is None or hide_in_text(path) == path else None

    def read(self, row: int, name: str) -> Image:
        """Decode one image whole: upright, in RGB or grey.

        Raises:
            UserError: another image stands in this row, or this one cannot be read.
        """
        from PIL import Image

        from headstart.config.environment import hide_in_text
        from headstart.data.rgb import to_rgb

        known = read_cell(plain_cell(hide_in_text(self.part.split.names[int(self.part.rows[row])])))
        if escape_controls(known) != name:
            raise UserError(f"test image {row} is {known} today, and not {name}")
        try:
            image = self.open(row)
            if not isinstance(image, Image.Image):
                return Image.fromarray(image)
            if image.format == "JPEG":
                image.draft(image.mode, (DRAFT, DRAFT))
            return to_rgb(image)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise many kinds of errors
            raise UserError(f"{name} cannot be read: {error}") from error


class ImageReader:
    """Opens the test images of runs; those of one digest are read once."""

    def __init__(self) -> None:
        self._known: dict[str, RunImages | UserError] = {}

    def find(self, run: Run) -> RunImages:
        """The test images of a run.

        Raises:
            UserError: they cannot be had, or are not those of the run any more.
        """
        key = str((run.result.get("digests") or {}).get("data") or run.folder)
        if key not in self._known:
            try:
                self._known[key] = find_test_images(run)
            except UserError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, UserError):
            raise found
        if run.answers is None or found.part.labels.tolist() != run.answers.labels.tolist():
            raise UserError("predictions.csv is not of the test images that the run had")
        return found


def find_test_images(run: Run) -> RunImages:
    """Read a run's data set, nothing of it decoded, and compare its digest with the run's.

    Nothing is downloaded, and not more than `MOST_READ` bytes are read for it.

    Raises:
        UserError: it is not there, is another one, or too large.
    """
    from headstart.data.dataset import Data
    from headstart.data.offline import forbid_downloads
    from headstart.data.parts import read_parts
    from headstart.data.pixel_range import read_with_range

    then = (run.result.get("digests") or {}).get("data")
    if then is None:
        raise UserError("the run has no digest of its images")
    config = _read_config(run)
    try:
        with forbid_downloads():
            classes, parts = read_parts(config.data, config.cache)
        _raise_if_large(parts)
        now = Data(
            classes, parts, image_size=1, stored_size=1, interpolation="bicubic", workers=0
        ).digest  # no pixel is read
    except (UserError, MemoryError):
        raise
    except Exception as error:  # readers of data sets raise many kinds of errors
        raise UserError(f"the data set cannot be read: {error}") from error
    if now != then:
        raise UserError(f"the images of {config.data.name} are not those of the run any more (another digest)")
    known = (run.result.get("preprocessing") or {}).get("pixel_range") or config.data.pixel_range
    test = parts["test"]
    return RunImages(test if known is None else read_with_range(test, (float(known[0]), float(known[1]))))


def _read_config(run: Run) -> RunConfig:
    from omegaconf.errors import OmegaConfBaseException

    from headstart.config import own_code
    from headstart.config.environment import reveal
    from headstart.config.schema import from_plain

    plain = load_config(run.folder / "config.yaml")
    try:
        config = from_plain({str(key): reveal(value) for key, value in (plain or {}).items()})
        # what the caller has imported is the caller's own code; a run's folder never decides what is imported
        own_code.load([name for name in config.imports or () if name in sys.modules])
        return config
    except (OSError, ValueError, TypeError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError("its config.yaml cannot be read by this version") from error


def _raise_if_large(parts: Mapping[str, Part]) -> None:
    """Raises UserError where too many bytes are to be read; of files those that the cache knows count nothing."""
    from headstart.data.source import ArrayImages, FileImages

    need = 0.0
    for part in parts.values():
        images, rows = part.split.images, part.rows.tolist()
        if isinstance(images, FileImages):
            need += part.split.contents.count_unread([images.paths[row] for row in rows])
        elif not isinstance(images, ArrayImages) and rows:
            some = rows[:: max(1, len(rows) // SAMPLE)]
            need += sum(len(images.raw(row)) for row in some) / len(some) * len(rows)
    if need > MOST_READ:
        raise UserError(
            f"{need / 1e9:.1f} GB would have to be read to see whether they are those of the run, more than "
            f"{MOST_READ / 1e9:.0f} GB"
        )
