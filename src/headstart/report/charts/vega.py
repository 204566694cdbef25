"""Altair, imported when the first chart is drawn: that takes 0.3 s, which a table alone need not wait for."""

from typing import Any


def __getattr__(name: str) -> Any:
    import altair

    return getattr(altair, name)
