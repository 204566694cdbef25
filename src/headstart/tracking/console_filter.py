"""The filter on the console's lines: facts that a sweep has shown are left out, and a bar makes room for a line."""

import logging
import shutil
import time
from typing import Any

from headstart.storage.plain_text import escape_controls

ERASE = "\r\x1b[K"


class ConsoleFilter(logging.Filter):
    """Stands before the handler of a console; files, such as a run's `train.log`, get every line.

    Args:
        stream: the console.
        shown: texts of facts that earlier jobs have shown, to which those of this job are added; None: all are shown.
        draws: whether the console is a terminal, on which a bar stands in place of lines of progress.
    """

    def __init__(self, stream: Any, shown: set[str] | None, *, draws: bool) -> None:
        super().__init__()
        self.stream, self.shown, self.draws = stream, shown, draws
        self.last_line = time.monotonic()
        self.drawn = False
        self.unicode = "utf" in str(getattr(stream, "encoding", "")).lower()

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "is_progress", False) and self.draws:
            return False
        if self.shown is not None and record.levelno <= logging.WARNING:
            text = record.getMessage()
            if text in self.shown:
                return False
            self.shown.add(text)
        self.clear()
        self.last_line = time.monotonic()
        return True

    def draw(self, text: str) -> None:
        """Draw the bar and its text over the last ones, in one line; not just after a line, which may be in writing."""
        if not self.draws or time.monotonic() - self.last_line < 0.2:
            return
        width = shutil.get_terminal_size().columns - 1
        self._write(f"{ERASE}{escape_controls(text)[:width]}")
        self.drawn = True

    def clear(self) -> None:
        """Take the bar away."""
        if self.drawn:
            self.drawn = False
            self._write(ERASE)

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # nobody reads it any more, or it is closed
            self.draws = False
