"""Reads a page of HTML, to see whether it is well formed and what stands in it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page's tags, attributes and texts; `unclosed` names what was opened and not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.cells: list[tuple[str | None, str]] = []
        self.unclosed: list[str] = []
        self.mistakes: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "td":
            self.cells.append((dict(attrs).get("data-value"), ""))

    def handle_endtag(self, tag: str) -> None:
        if not self.unclosed or self.unclosed.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        if "td" in self.unclosed:
            value, text = self.cells[-1]
            self.cells[-1] = (value, text + data)
