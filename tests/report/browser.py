"""Opens a page in Debian's Chromium, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium")
PATIENCE_MS = 240_000  # on a busy machine
DRAW = "Promise.all(figures.filter(figure => !figure.element.hidden).map(draw))"


@contextmanager
def opened(browser: Any, page: Path, **context: Any) -> Iterator[tuple[Any, list[str]]]:
    """The page with all of its charts drawn; and what it complained about or asked for besides itself."""
    tab = browser.new_page(**context)
    tab.set_default_timeout(PATIENCE_MS)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda asked: said.append(asked.url) if asked.url.split("#")[0] != page.as_uri() else None)
    tab.goto(page.as_uri())
    if context.get("java_script_enabled", True):
        tab.evaluate(DRAW)
    yield tab, said
    tab.close()
