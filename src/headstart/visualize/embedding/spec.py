"""The map as an Altair chart: a colour a class, a ring around each mistake, and the image under the pointer."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.tracking.plot_style import COLOURS, INK, MUTED, RULE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headstart.visualize.embedding.points import Map, Maps

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")  # change with every 12 classes
NAMED = 40  # with more classes than this, only the pointer shows their names
SIDES = {1: 640, 2: 520}  # of a map in pixels, by how many there are
SIZE, LARGE, RING = 40, 300, 130  # of a point, of the one under the pointer, and of a mistake's ring, in square pixels


def make_spec(maps: Maps, classes: Sequence[str]) -> dict[str, Any]:
    """The chart in the words of Vega-Lite.

    Args:
        classes: the names to show.
    """
    import altair as alt

    data = alt.NamedData("points")  # once for all layers, because it holds the images
    hovered = alt.selection_point(name="hovered", fields=["row"], on="pointerover", clear="pointerout", empty=False)
    chosen = alt.selection_point(
        name="chosen", fields=["class"], bind="legend" if len(classes) <= NAMED else alt.Undefined
    )
    panels = []
    for at, each in enumerate(maps.maps):
        layers = [_draw_points(data, at, len(maps.maps), classes, hovered, chosen), _draw_rings(data, at)]
        if len(classes) <= NAMED:
            layers += _draw_names(maps, at, classes)
        title = alt.TitleParams(each.name, subtitle=[describe(each), "a ring marks a mistake of the run"], fontSize=13)
        side = SIDES[len(maps.maps)]
        panels.append(alt.layer(*layers).properties(width=side, height=side, title=title))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # both maps share the selections, as is meant
        chart: Any = alt.hconcat(*panels) if len(panels) > 1 else panels[0]
        chart = chart.configure(font="DejaVu Sans, sans-serif").configure_view(stroke=RULE)
        spec: dict[str, Any] = chart.configure_title(anchor="start", color=INK, subtitleColor=MUTED).to_dict()
    return spec | {"datasets": {**spec.get("datasets", {}), "points": _list_points(maps, classes)}}


def describe(each: Map) -> str:
    """The numbers of one map in a line."""
    quality = each.quality
    return (
        f"accuracy {100 * each.accuracy:.1f} % · k-NN of the features {100 * quality.knn_features:.1f} %, of the map "
        f"{100 * quality.knn_map:.1f} % · trustworthiness {quality.trustworthiness:.3f}"
    )


def _list_points(maps: Maps, classes: Sequence[str]) -> list[dict[str, Any]]:
    points = []
    for row, (name, label, image) in enumerate(zip(maps.names, maps.labels, maps.thumbnails, strict=True)):
        facts: dict[str, Any] = {"row": row, "name": name, "class": classes[label], "image": image}
        for at, each in enumerate(maps.maps):
            x, y = each.points[row].tolist()
            facts |= {f"x{at}": round(x, 3), f"y{at}": round(y, 3)}
            facts |= {f"predicted{at}": classes[each.predicted[row]], f"wrong{at}": bool(each.predicted[row] != label)}
        points.append(facts)
    return points


def _place(at: int, names: tuple[str, str] | None = None) -> dict[str, Any]:
    """The encoding of a point's place on one map: the axes of t-SNE have no meaning and are not drawn."""
    import altair as alt

    x, y = names or (f"x{at}", f"y{at}")
    scale = alt.Scale(zero=False, nice=False, padding=14)
    return {"x": alt.X(f"{x}:Q", axis=None, scale=scale), "y": alt.Y(f"{y}:Q", axis=None, scale=scale)}


def _draw_points(data: Any, at: int, count: int, classes: Sequence[str], hovered: Any, chosen: Any) -> Any:
    """The points of one map; pointing at one makes it large on each map, a click in the legend leaves one class."""
    import altair as alt

    n = len(classes)
    legend = alt.Legend(title="class", symbolOpacity=1) if n <= NAMED else None
    colours = alt.Scale(domain=list(classes), range=[COLOURS[place % len(COLOURS)] for place in range(n)])
    shapes = [SHAPES[place // len(COLOURS) % len(SHAPES)] for place in range(n)]
    tooltip = [alt.Tooltip("image:N"), alt.Tooltip("class:N")]
    tooltip += [
        alt.Tooltip(f"predicted{each}:N", title="predicted" if count == 1 else f"predicted, map {each + 1}")
        for each in range(count)
    ]
    return (
        alt.Chart(data)
        .mark_point(filled=True)
        .encode(
            **_place(at),
            color=alt.Color("class:N", scale=colours, legend=legend),
            shape=alt.Shape("class:N", scale=alt.Scale(domain=list(classes), range=shapes), legend=legend),
            opacity=alt.condition(chosen, alt.value(0.8), alt.value(0.06)),
            size=alt.condition(hovered, alt.value(LARGE), alt.value(SIZE)),
            tooltip=[*tooltip, alt.Tooltip("name:N")],
        )
        .add_params(hovered, chosen)
    )


def _draw_rings(data: Any, at: int) -> Any:
    """A ring around each mistake."""
    import altair as alt

    mark = alt.Chart(data).mark_point(filled=False, shape="circle", size=RING, color=INK, strokeWidth=1.3, tooltip=None)
    return mark.transform_filter(f"datum.wrong{at}").encode(**_place(at))


def _draw_names(maps: Maps, at: int, classes: Sequence[str]) -> list[Any]:
    """The name of each class amid its points, on a white edge."""
    import altair as alt

    points = maps.maps[at].points
    middles = [
        {"name": classes[label], "x": float(x), "y": float(y)}
        for label in np.unique(maps.labels)
        for x, y in [np.median(points[maps.labels == label], axis=0)]
    ]
    chart = alt.Chart(alt.Data(values=middles)).encode(**_place(at, ("x", "y")), text="name:N")
    words: Any = {"fontSize": 12, "fontWeight": "bold", "limit": 160, "tooltip": None}
    edge = chart.mark_text(**words, stroke="white", strokeWidth=4, strokeJoin="round", opacity=0.85)
    return [edge, chart.mark_text(**words, color=INK)]
