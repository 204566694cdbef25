"""The templates of the files that an export holds."""

from __future__ import annotations

from typing import Any


def load_template(name: str) -> Any:
    """The Jinja template of this room with a file name; a value that it lacks is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("headstart.export", "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
