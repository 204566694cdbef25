"""Make a chart's specification into a picture beside the page, and into what the page draws itself from."""

import functools
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart.config.paths import make_path
from headstart.errors import RunFailed
from headstart.report.charts import vega as alt
from headstart.report.charts.theme import CONFIG
from headstart.storage.files import write_text
from headstart.tracking.fonts import can_draw, find_bundled_font, load_font

WIDTH, SCALE = 660, 2  # of a picture in pixels before it is enlarged, and by how much
ACROSS = 3  # panels beside each other


def make_spec(chart: Any) -> dict[str, Any]:
    """The chart in the words of Vega-Lite, as wide as what it stands in."""
    data, chart.datasets = chart.datasets, alt.Undefined  # Altair would look at each number by itself
    found: dict[str, Any] = _guard_titles(chart.to_dict(validate=False)) | {"datasets": data}
    chart.datasets = data
    found |= {
        "width": found.get("width", "container"),
        "config": CONFIG,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
    return found


def _guard_titles(node: Any) -> Any:
    """The specification with another stroke for a backslash in titles: Vega-Lite puts titles into expressions, in which
    `\\x1b` would be a control character.
    """
    if isinstance(node, list):
        return [_guard_titles(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: part.replace("\\", "\u2216") if key in ("title", "text") and isinstance(part, str) else _guard_titles(part)
        for key, part in node.items()
    }


def join_panels(specs: Sequence[dict[str, Any]], width: float = WIDTH, most: int = ACROSS) -> dict[str, Any]:
    """One specification of a fixed width for the panels of a figure."""
    across = min(len(specs), most)
    each = width if across == 1 else max(260.0, (1.35 * width - 60 * across) / across)
    if len(specs) == 1:
        return specs[0] | {"width": each}
    panels = [_tell_apart({"width": each, **_inner(spec)}, place) for place, spec in enumerate(specs)]
    data = {f"{name}{place}": rows for place, spec in enumerate(specs) for name, rows in spec["datasets"].items()}
    whole = {"$schema": specs[0]["$schema"], "config": CONFIG, "datasets": data}
    return whole | {"concat": panels, "columns": across, "resolve": {"scale": {"color": "shared", "shape": "shared"}}}


def _inner(spec: dict[str, Any]) -> dict[str, Any]:
    """What of a specification may stand inside another one."""
    outer = ("config", "autosize", "$schema", "datasets", "width")
    return {key: part for key, part in spec.items() if key not in outer}


def _tell_apart(node: Any, place: int) -> Any:
    """A panel whose data have names of their own, and whose parts have none."""
    if isinstance(node, list):
        return [_tell_apart(part, place) for part in node]
    if not isinstance(node, dict):
        return node
    found = {key: _tell_apart(part, place) for key, part in node.items() if key != "name" or "mark" not in node}
    if isinstance(found.get("data"), dict) and "name" in found["data"]:
        found["data"] = {"name": f"{found['data']['name']}{place}"}
    return found


def write_png(specs: Sequence[dict[str, Any]], path: Path, width: float = WIDTH, across: int = ACROSS) -> Path:
    """Write a figure as PNG; letters that no font of this machine has are written as their numbers."""
    import vl_convert

    _register_font()
    spec = replace_absent_letters(join_panels(specs, width, across))
    path.write_bytes(vl_convert.vegalite_to_png(spec, scale=SCALE, allowed_base_urls=[]))
    return path


def make_svg(spec: dict[str, Any], width: float = WIDTH) -> str:
    """A chart as SVG for a page whose script does not run."""
    import vl_convert

    _register_font()
    found: str = vl_convert.vegalite_to_svg(join_panels([spec], width), allowed_base_urls=[])
    return found


def replace_absent_letters(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification with each letter that no font can draw as its number, such as `U+732B`."""
    text = json.dumps(spec, ensure_ascii=False)
    rare = sorted({letter for letter in text if ord(letter) > 0x24F and not letter.isspace()})
    absent = [letter for letter in rare if not can_draw(load_font([letter], 11), letter)]
    if not absent:
        return spec
    for letter in absent:
        text = text.replace(letter, f"U+{ord(letter):04X}")
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

    kept = make_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "headstart"
    kept /= f"vega-embed-{vl_convert.get_vega_embed_version()}-vega-{vl_convert.get_vega_version()}.js"
    with suppress(OSError):
        return kept.read_text(encoding="utf-8")
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    with suppress(OSError, RunFailed):
        write_text(kept, text)
    return text
