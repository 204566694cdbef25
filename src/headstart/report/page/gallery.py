"""Pictures of test images as HTML of the page: they are embedded, and a choice of maps lies over them on demand.

The page's size is bounded: at most 16 pictures for each of 8 pairs of rows and of 8 rows, each of at most 128 pixels a
side. That is about 1 MB, and three times as much with maps.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from PIL import Image

from headstart.errors import UserError
from headstart.report.page.pictures import Selection
from headstart.report.page.run_images import ImageReader
from headstart.report.page.templates import make_link, template
from headstart.report.study.read import Run

if TYPE_CHECKING:
    from headstart.report.page.image_maps import MapDrawer

SIDE = 128  # pixels of a picture's longer side
COARSE = 3  # an image is shown with visible pixels if it is so many times smaller than its picture
QUALITY = 82  # of WebP
ENDINGS = (".png", ".webp", ".html")  # of the figures in a run's folder
FIGURE_SIDE = 800  # pixels of a small picture of one, at most
MOST_FIGURES = 60  # with a picture on a page; of more figures there are links only
MOST_PIXELS = 50_000_000  # of a file that is opened


@dataclass(frozen=True)
class Card:
    """An image with its caption: the plain picture and its maps as data URIs, in the order of the views."""

    pictures: list[str]
    alts: list[str]
    caption: tuple[str, ...]
    name: str
    coarse: bool
    href: str
    key: str


@dataclass
class Galleries:
    """Makes the galleries of a page.

    Attributes:
        maps: whether maps are computed, which takes the networks of the runs.
        report: the page's folder, from which links to the images' files go.
        embedded: the keys of the images whose pictures stand in a gallery.
    """

    maps: bool = False
    report: Path | None = None
    embedded: set[str] = field(default_factory=set)
    _reader: ImageReader = field(default_factory=ImageReader)
    _drawer: MapDrawer | None = None
    _said: set[str] = field(default_factory=set)

    def draw(self, selection: Selection, name: str) -> Markup:
        """The HTML of a selection; where its pictures cannot be had, a sentence that says why, if no other has said so.

        Args:
            name: of the gallery in the page, which no other has.
        """
        try:
            images = [self._reader.find(each.run).read(each.row, each.name) for each in selection.images]
        except UserError as error:
            words = "" if str(error) in self._said else f"Pictures are missing here: {first_line(error)}."
            self._said.add(str(error))
            return _render(title="", views=[], cards=[], name=name, note=words, rows=()) if words else Markup("")
        maps, note = self._draw_maps(selection, images)
        views = ["picture", *(selection.maps if maps else ())]
        cards = []
        for at, (shown, image) in enumerate(zip(selection.images, images, strict=True)):
            pictures = [encode(image), *(map(encode, maps[at]) if maps else ())]
            alts = [shown.alt, *(f"{shown.alt}; {view}" for view in views[1:])]
            key, href = key_of(shown.run, shown.row), self.link(shown.run, shown.row)
            self.embedded.add(key)
            cards.append(Card(pictures, alts, shown.caption, shown.name, is_coarse(image), href, key))
        return _render(title=selection.title, views=views, cards=cards, name=name, note=note, rows=selection.rows)

    def picture(self, run: Run, row: int, name: str) -> list[Any]:
        """A test image as a data URI, and whether its pixels are to be seen.

        Raises:
            UserError: it cannot be had.
        """
        image = self._reader.find(run).read(row, name)
        return [encode(image), is_coarse(image)]

    def link(self, run: Run, row: int) -> str:
        """The way from the page to the file of a test image; empty where it has none or cannot be had."""
        with suppress(UserError, ValueError):  # ValueError: on another drive
            path = None if self.report is None else self._reader.find(run).path(row)
            return "" if path is None else make_link(path, self.report)
        return ""

    def _draw_maps(self, selection: Selection, images: list[Image.Image]) -> tuple[list[list[Image.Image]], str]:
        """The pictures with maps, and a sentence that explains them or says why there are none."""
        if not self.maps:
            return [], ""
        from headstart.report.page.image_maps import MapDrawer

        self._drawer = self._drawer or MapDrawer()
        try:
            drawn, alike = self._drawer.draw(selection.images, images, SIDE)
        except UserError as error:
            return [], f"No maps: {first_line(error)}."
        scale = "all maps here have one scale" if alike else "each view has a scale of its own"
        return drawn, (
            "Maps (HiResCAM): orange places speak for the class that is asked about, purple ones against it, grey ones"
            f" for nothing; {scale}."
        )


def _render(**values: Any) -> Markup:
    return Markup(template("gallery.html").render(**values))  # the template has escaped the values


def key_of(run: Run, row: int) -> str:
    """What the page calls a test image by."""
    return f"{run.answers.images if run.answers else ''}-{row}"


def is_coarse(image: Image.Image) -> bool:
    """Whether an image is so small that its pixels are to be seen."""
    return max(image.size) <= SIDE // COARSE


def encode(image: Image.Image, side: int = SIDE) -> str:
    """An image as a data URI: a small one as PNG with its very pixels, a larger one as a WebP picture of it.

    Args:
        side: of the picture in pixels, at most.
    """
    out = io.BytesIO()
    if is_coarse(image):
        image.save(out, "PNG", optimize=True)
        return _uri("png", out)
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(out, "WEBP", quality=QUALITY, method=4)
    return _uri("webp", out)


def _uri(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def first_line(error: UserError) -> str:
    """What an error says, without its details and its full stop."""
    return str(error).partition("\n")[0].rstrip(".")


class OwnFigures:
    """Lists the figures of runs; the first of them with a small picture."""

    def __init__(self, report: Path, *, pictures: bool) -> None:
        self._report, self._left = report, MOST_FIGURES if pictures else 0

    def of(self, run: Run, drawn: Sequence[str] = ()) -> dict[str, list[list[str]]]:
        """The run's figures: name, link, and the picture as a data URI, which is empty where there is none.

        Args:
            drawn: the names of those that the page draws itself.
        """
        paths = sorted(path for path in (run.folder / "figures").glob("*") if path.suffix.lower() in ENDINGS)
        paths = [path for path in paths if path.name not in drawn]
        found = [[path.name, make_link(path, self._report), self._draw(path)] for path in paths]
        return {"figures": found} if found else {}

    def _draw(self, path: Path) -> str:
        if not self._left or path.suffix.lower() == ".html":
            return ""
        try:
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    return ""
                small = encode(image.convert("RGB"), FIGURE_SIDE)
        except (OSError, ValueError, Image.DecompressionBombError):
            return ""
        self._left -= 1
        return small
