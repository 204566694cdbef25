"""A sheet of images with maps laid over them, all with one scale of colours, and a line of text under each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from headstart.tracking.fonts import can_draw, load_font, shorten

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FOR, AGAINST = (230, 97, 1), (94, 60, 153)  # ColorBrewer's PuOr, told apart by colour-blind people too
INK, DIM, RIGHT, WRONG = (34, 34, 34), (110, 110, 110), (0, 114, 178), (190, 70, 0)  # two of Okabe and Ito's
SIDE, GAP, APART, LINE, EDGE = 152, 4, 24, 20, 24  # pixels: of a picture, between those of a group and between groups
BAR = 180
STRONGEST = 0.999  # quantile of the maps that gets the full colour, so that one pixel does not make the rest pale


@dataclass(frozen=True)
class Panel:
    """An image, or a map over it, and the text under it.

    Attributes:
        image: uint8 [h, w, 3].
        text: a line, cut where it is too long.
        density: [h, w], see `Maps.density`; None: the image alone.
        ink: colour of the text.
        box: left, top, right and bottom of a frame, in pixels of the image.
    """

    image: np.ndarray
    text: str = ""
    density: np.ndarray | None = None
    ink: tuple[int, int, int] = INK
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Sheet:
    """Groups of panels; those of a group stand side by side and belong to one image.

    Attributes:
        title, notes: lines above them.
        across: groups in a row.
        scaled_alike: whether all maps have one scale; else each place in the group has its own.
    """

    title: str
    groups: Sequence[Sequence[Panel]]
    notes: Sequence[str] = ()
    across: int = 4
    scaled_alike: bool = True
    _fonts: dict[int, FreeTypeFont] = field(default_factory=dict, compare=False)

    def draw(self) -> Image.Image:
        """Draw the sheet."""
        wide, rows = max(map(len, self.groups)), -(-len(self.groups) // self.across)
        step_x, step_y = wide * (SIDE + GAP) + APART, SIDE + LINE + APART // 2
        across = min(self.across, len(self.groups))
        head = EDGE + 34 + LINE * (len(self.notes) + 1) + 12
        scales = self.find_scales()
        least = int(max(self._font(22, self.title).getlength(self.title), *map(self._measure, self.notes), 640))
        width = max(across * step_x - APART - GAP, least) + 2 * EDGE
        sheet = Image.new("RGB", (width, head + rows * step_y + EDGE // 2), "white")
        self._draw_head(sheet, scales)
        for at, group in enumerate(self.groups):
            left, top = EDGE + at % self.across * step_x, head + at // self.across * step_y
            for place, panel in enumerate(group):
                self._draw_panel(sheet, panel, left + place * (SIDE + GAP), top, scales[place])
        return sheet

    def find_scales(self) -> list[float]:
        """The density that gets the full colour, for each place in a group."""
        wide = max(map(len, self.groups))
        found: list[list[np.ndarray]] = [[] for _ in range(wide)]
        for group in self.groups:
            for place, panel in enumerate(group):
                if panel.density is not None:
                    found[place].append(np.abs(panel.density).ravel())
        if self.scaled_alike:
            every = [values for place in found for values in place]
            found = [every] * wide
        return [float(np.quantile(np.concatenate(values), STRONGEST)) if values else 0.0 for values in found]

    def _measure(self, text: str) -> float:
        return self._font(14, text).getlength(text)

    def _font(self, size: int, text: str) -> FreeTypeFont:
        """The sheet's font of a size, or another one for a text that it cannot draw."""
        if size not in self._fonts:
            self._fonts[size] = load_font((), size)
        own = self._fonts[size]
        return own if can_draw(own, text) else load_font([text], size)

    def _draw_head(self, sheet: Image.Image, scales: list[float]) -> None:
        draw = ImageDraw.Draw(sheet)
        draw.text((EDGE, EDGE - 6), self.title, INK, self._font(22, self.title))
        top = EDGE + 34
        for note in self.notes:
            draw.text((EDGE, top), note, DIM, self._font(14, note))
            top += LINE
        if not any(scales):
            return
        ramp = np.linspace(-1, 1, BAR)[None].repeat(12, 0)
        sheet.paste(Image.fromarray(paint(np.full((12, BAR, 3), 200, np.uint8), ramp)), (EDGE, top + 4))
        most = scales[-1] / 100
        words = f"against … for, full colour: {most:.2g} logits for 1 % of the image's area"
        if not self.scaled_alike:
            words = "against … for, each column with a scale of its own: scores of different units"
        draw.text((EDGE + BAR + 10, top), words, DIM, self._font(14, words))

    def _draw_panel(self, sheet: Image.Image, panel: Panel, left: int, top: int, scale: float) -> None:
        pixels = Image.fromarray(panel.image)
        method = Image.Resampling.NEAREST if pixels.width < SIDE else Image.Resampling.LANCZOS
        pixels = pixels.resize((SIDE, SIDE), method)
        if panel.density is not None:
            density = Image.fromarray(panel.density.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            pixels = Image.fromarray(paint(np.asarray(pixels), np.asarray(density) / (scale or 1)))
        if panel.box is not None:
            frame = [edge * SIDE / panel.image.shape[0] for edge in panel.box]
            ImageDraw.Draw(pixels).rectangle(frame, outline=WRONG, width=3)
        sheet.paste(pixels, (left, top))
        font = self._font(13, panel.text)
        ImageDraw.Draw(sheet).text((left, top + SIDE + 2), shorten(panel.text, font, SIDE), panel.ink, font)


def paint(pixels: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Lay a map over an image in grey: orange speaks for the class, purple against it.

    Args:
        pixels: uint8 [h, w, 3].
        strength: [h, w] from -1 to 1; beyond it is cut.
    """
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    under = (80 + 0.5 * grey)[..., None]  # neither black nor white, on which colours would be lost
    cut = strength.clip(-1, 1)[..., None]
    colour = np.where(cut > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    share = 0.85 * np.abs(cut) ** 0.8
    return (under * (1 - share) + colour * share).round().astype(np.uint8)
