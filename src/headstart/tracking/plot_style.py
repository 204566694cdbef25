"""How every plot looks: colours, quiet axes, a sheet that is drawn without a display and without remarks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.tracking.plot_fonts import draw_all_letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1f2328"
MUTED = "#6a737d"
RULE = "#d9dde2"
# Okabe and Ito's colours for the colour-blind (2008), without the yellow that white paper swallows, then six
# of Paul Tol's muted ones.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#882255", "#332288", "#999933", "#117733", "#AA4499", "#CC6677"),
)
MARKS = ("o", "s", "^", "D", "v", "P")
BASELINE = "#6b6b6b"
DPI = 160
# A name with a $ in it is a name, not mathematics.
STYLE: Any = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8c959f",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
}


def sheet(width: float, height: float) -> Figure:
    """An empty figure in inches that draws itself without a display or global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG."""
    draw_all_letters(figure)
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.06)
    return path


@contextmanager
def draw_in(style: Any) -> Iterator[None]:
    """Inside this context, matplotlib draws in this style, and makes no remarks on fonts, glyphs and room."""
    import matplotlib

    log = logging.getLogger("matplotlib")  # font_manager logs what it does not find
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), matplotlib.rc_context(style):
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        log.setLevel(before)
