"""The figures of each single run, as `headstart visualize` left them in its folder: small on the page, whole behind."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from headstart.report.page.gallery import encode
from headstart.report.page.templates import make_link
from headstart.report.study.read import Run

ENDINGS = (".png", ".webp", ".html")
SIDE = 800  # pixels of a small picture, at most
MOST_PICTURES = 60  # on a page; of more figures there are links only
MOST_PIXELS = 50_000_000  # of a file that is opened


class OwnFigures:
    """Lists the figures of runs; the first of them with a small picture."""

    def __init__(self, report: Path, *, pictures: bool) -> None:
        self._report, self._left = report, MOST_PICTURES if pictures else 0

    def of(self, run: Run) -> dict[str, list[list[str]]]:
        """The run's figures: name, link, and the picture as a data URI, which is empty where there is none."""
        paths = sorted(path for path in (run.folder / "figures").glob("*") if path.suffix.lower() in ENDINGS)
        found = [[path.name, make_link(path, self._report), self._draw(path)] for path in paths]
        return {"figures": found} if found else {}

    def _draw(self, path: Path) -> str:
        if not self._left or path.suffix.lower() == ".html":
            return ""
        try:
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    return ""
                small = encode(image.convert("RGB"), SIDE)
        except (OSError, ValueError, Image.DecompressionBombError):
            return ""
        self._left -= 1
        return small
