"""Drawing leaves the console alone, and puts everything back."""

import logging
import warnings

import pytest

from headstart.tracking.plot_style import STYLE, draw_in, sheet


def test_fonts_glyphs_and_narrow_figures_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    import matplotlib

    size, level = matplotlib.rcParams["font.size"], logging.getLogger("matplotlib").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with draw_in({**STYLE, "font.family": "no such font"}):
            figure = sheet(0.3, 0.3)
            figure.add_subplot().set_title("猫 " * 9)
            figure.canvas.draw()
    assert caplog.messages == []
    assert (matplotlib.rcParams["font.size"], logging.getLogger("matplotlib").level) == (size, level)
