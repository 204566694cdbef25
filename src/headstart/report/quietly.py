"""Drawing without matplotlib's remarks on the console: on fonts, glyphs and room, which no reader can mend."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def draw_in(style: Any) -> Iterator[None]:
    """Inside this context, matplotlib draws in this style and says nothing."""
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
