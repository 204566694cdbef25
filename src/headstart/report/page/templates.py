"""The page's templates."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from headstart.report.charts.theme import outline

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> Template:
    """A page's template; what it is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("headstart", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embedded"] = embedded
    environment.globals["outline"] = outline
    return environment.get_template(name)


def make_link(path: Path | str, report: Path | None) -> str:
    """The way from the report's folder to a file, as a link."""
    return quote(os.fsencode(os.path.relpath(path, report).replace(os.sep, "/")))


def embedded(path: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
