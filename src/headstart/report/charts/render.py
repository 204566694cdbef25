"""Make a chart's specification into a picture beside the page, and into what the page draws itself from."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import RunFailed
from headstart.report.charts.theme import CONFIG
from headstart.storage.files import write_text
from headstart.tracking.fonts import can_draw, find_bundled_font, load_font

if TYPE_CHECKING:
    import altair as alt

WIDTH, SCALE = 660, 2  # of a picture in pixels before it is enlarged, and by how much
ACROSS = 3  # panels beside each other


def make_spec(chart: alt.Chart | alt.LayerChart) -> dict[str, Any]:
    """The chart in the words of Vega-Lite, as wide as what it stands in."""
    found: dict[str, Any] = chart.to_dict(validate=False)
    found |= {
        "width": found.get("width", "container"),
        "config": CONFIG,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
    return found


def join_panels(specs: Sequence[dict[str, Any]], width: float = WIDTH) -> dict[str, Any]:
    """One specification of a fixed width for the panels of a figure."""
    across = min(len(specs), ACROSS)
    each = width if across == 1 else max(260.0, (1.35 * width - 60 * across) / across)
    sized = [
        {key: part for key, part in spec.items() if key not in ("config", "autosize", "$schema", "datasets")}
        | {"width": each if spec["width"] == "container" else spec["width"]}
        for spec in specs
    ]
    whole: dict[str, Any] = sized[0] if across == 1 else {"concat": sized, "columns": across}
    whole |= {"$schema": specs[0]["$schema"], "config": CONFIG}
    whole["datasets"] = {name: rows for spec in specs for name, rows in spec.get("datasets", {}).items()}
    if across == 1:
        whole["autosize"] = {"type": "fit-x", "contains": "padding"}
    return whole


def write_png(specs: Sequence[dict[str, Any]], path: Path, width: float = WIDTH) -> Path:
    """Write a figure as PNG; letters that no font of this machine has are written as their numbers."""
    import vl_convert

    _register_font()
    spec = replace_absent_letters(join_panels(specs, width))
    path.write_bytes(vl_convert.vegalite_to_png(spec, scale=SCALE, allowed_base_urls=[]))
    return path


def make_svg(spec: dict[str, Any], width: float = WIDTH) -> str:
    """A chart as SVG for a page whose script does not run."""
    import vl_convert

    _register_font()
    found: str = vl_convert.vegalite_to_svg(join_panels([spec], width), allowed_base_urls=[])
    return found


def replace_absent_letters(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification with each letter that no font can draw as its number, such as `\\u732b`."""
    text = json.dumps(spec, ensure_ascii=False)
    rare = sorted({letter for letter in text if ord(letter) > 0x24F and not letter.isspace()})
    absent = [letter for letter in rare if not can_draw(load_font([letter], 11), letter)]
    if not absent:
        return spec
    for letter in absent:
        text = text.replace(letter, json.dumps(ascii(letter)[1:-1])[1:-1])
    found: dict[str, Any] = json.loads(text)
    return found


@functools.cache
def _register_font() -> None:
    import vl_convert

    vl_convert.register_font_directory(str(find_bundled_font().parent))


@functools.cache
def bundle_library() -> str:
    """The script that draws the charts in the page; kept among the user's caches, as it takes two seconds to make."""
    import vl_convert

    kept = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "headstart"
    kept /= f"vega-embed-{vl_convert.get_vega_embed_version()}-{vl_convert.__version__}.js"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    with suppress(OSError, RunFailed):
        write_text(kept, text)
    return text
