"""The chart in one offline HTML file, with the image under the pointer, and as PNG."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from headstart.tracking.fonts import find_bundled_font, load_font, name_what_cannot_be_drawn
from headstart.tracking.plot_style import INK
from headstart.visualize.embedding.spec import make_spec

if TYPE_CHECKING:
    from headstart.visualize.embedding.points import Maps

SCALE = 2  # of the PNG
# of vega-embed; canvas, because thousands of points are slow as SVG; no menu entry that opens a page elsewhere
OPTIONS = {"renderer": "canvas", "actions": {"export": True, "source": False, "compiled": False, "editor": False}}
# nothing but the file itself may be loaded; Vega compiles its expressions, hence unsafe-eval
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 1.5em; color: {ink} }} #vg-tooltip-element img {{ width: 96px }}</style>
<script>{bundle}</script>
</head>
<body>
<div id="map"></div>
<p>{note}</p>
<script>vegaEmbed("#map", {spec}, {options});</script>
</body>
</html>
"""


def make_html(maps: Maps, title: str, note: str) -> str:
    """The page: the chart, and the libraries that draw it, without a link to anything."""
    import vl_convert

    spec = json.dumps(make_spec(maps, maps.classes), ensure_ascii=False)
    return PAGE.format(
        policy=POLICY,
        ink=INK,
        title=html.escape(title),
        note=html.escape(note),
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"),
        spec=spec.replace("<", "\\u003c"),  # a class may be called </script>
        options=json.dumps(OPTIONS),
    )


def make_png(maps: Maps) -> bytes:
    """The same chart as PNG; a class whose name no font of this machine can draw stands with its number."""
    import vl_convert

    vl_convert.register_font_directory(str(find_bundled_font().parent))
    names = name_what_cannot_be_drawn(maps.classes, load_font(maps.classes, 11))
    found: bytes = vl_convert.vegalite_to_png(make_spec(maps, names), scale=SCALE, allowed_base_urls=[])
    return found
