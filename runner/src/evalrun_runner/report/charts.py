"""Charts as static SVG: specified in Vega-Lite, drawn by vl-convert in this process, without the network.

One drawing serves light and dark: it uses a few stand-in colours, which the page's style sheet replaces by those of its
theme. A drawing goes into the page only if it consists of the elements and attributes that a chart needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from evalrun_runner.report.content import ChangeLine, RankLine, RatePoint, ScoreLine
from evalrun_runner.report.text import one_line

INK, FAINT, ACCENT, SECOND = "#010101", "#020202", "#030303", "#040404"
"""Stand-in colours: text, lines of the grid, what is shown, and a second series. ``report.css`` replaces them."""
_WIDTH, _ROW = 440, 22
"""Pixels of the drawing area, and of a row in it."""
_LABEL = 46
"""Characters of a label."""
_LABEL_ROOM = 1.2
"""Pixels a character by which the fonts of a reader may be wider than those that vl-convert measures with."""
_SVG = "{http://www.w3.org/2000/svg}"
_ELEMENTS = frozenset({"svg", "g", "path", "line", "rect", "text", "tspan", "circle", "defs", "clipPath", "title"})
_ATTRIBUTE_NAMES = """
    aria-hidden aria-label aria-roledescription class clip-path cx cy d display dominant-baseline dx dy fill
    fill-opacity font-family font-size font-style font-weight height id opacity pointer-events r role stroke
    stroke-dasharray stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity stroke-width text-anchor transform
    version viewBox width x x1 x2 y y1 y2
"""
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing for the page."""

    svg: str
    """Checked markup of the drawing."""
    description: str
    """What it shows, for those who cannot see it."""


Spec = dict[str, object]
"""A part of a Vega-Lite specification."""

_CONFIG: Spec = {
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": FAINT,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "titleFontWeight": "normal",
    },
}


def forest(lines: Sequence[ScoreLine]) -> Chart:
    """Draw scores with their intervals, one a row: a dot in its interval."""
    share = all(line.is_share for line in lines)
    scale = 100 if share else 1
    labels = _labels([line.name for line in lines])
    rows = [
        _row(label, scale, line.value, line.low, line.high)
        for label, line in zip(labels, lines, strict=True)
        if line.value is not None
    ]
    x: Spec = {"title": "score in percent" if share else "score"}
    x["scale"] = {"domain": [0, 100]} if share else {"zero": False}
    described = f"Dots show {len(rows)} scores, lines the ranges in which they probably lie; the table has the numbers."
    return Chart(_rows(rows, x, labels), described)


def changes(lines: Sequence[ChangeLine]) -> Chart:
    """Draw differences from the baseline with their intervals, around a line at no difference."""
    labels = _labels([f"{line.task} {line.metric}" for line in lines])
    rows = [_row(label, 100, line.difference, line.low, line.high) for label, line in zip(labels, lines, strict=True)]
    zero: Spec = {
        "data": {"values": [{"value": 0}]},
        "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]},
        "encoding": {"x": {"field": "value", "type": "quantitative"}},
    }
    x: Spec = {"title": "difference from the baseline in points", "scale": {"zero": True, "nice": True}}
    described = f"Dots show {len(rows)} differences from the baseline, lines their ranges; the table has the numbers."
    return Chart(_rows(rows, x, labels, zero), described)


def ranks(lines: Sequence[RankLine]) -> Chart:
    """Draw the ranks that each run may have."""
    labels = _labels([line.label for line in lines])
    rows = [
        _row(label, 1, place, line.best - 0.15, line.worst + 0.15)
        for place, (label, line) in enumerate(zip(labels, lines, strict=True), 1)
    ]
    x: Spec = {
        "title": "rank, 1 is best",
        "axis": {"values": list(range(1, len(lines) + 1)), "format": "d"},
        "scale": {"domain": [0.5, len(lines) + 0.5]},
    }
    described = f"Lines show which ranks each of {len(rows)} runs may have; the table has the numbers."
    return Chart(_rows(rows, x, labels), described)


def pace(points: Sequence[RatePoint]) -> Chart:
    """Draw items a second over the run's time, with the ready replicas below."""
    rows = [{"minutes": point.minutes, "rate": point.items_per_second, "replicas": point.replicas} for point in points]
    rate: Spec = {
        "width": _WIDTH + 100,
        "height": 140,
        "mark": {"type": "area", "color": ACCENT, "opacity": 0.45, "interpolate": "step-before"},
        "encoding": {"x": _over_time(None), "y": {"field": "rate", "type": "quantitative", "title": "items a second"}},
    }
    axis: Spec = {"tickMinStep": 1, "format": "d", "tickCount": 3}
    replicas: Spec = {
        "width": _WIDTH + 100,
        "height": 50,
        "mark": {"type": "line", "color": SECOND, "interpolate": "step-before", "strokeWidth": 2},
        "encoding": {
            "x": _over_time("minutes since the run began"),
            "y": {"field": "replicas", "type": "quantitative", "title": "replicas", "axis": axis},
        },
    }
    both: Spec = {"data": {"values": rows}, "vconcat": [rate, replicas], "spacing": 12}
    return Chart(_drawn(both, 0), "Items answered a second over the run's time; below, the number of ready replicas.")


def _over_time(title: str | None) -> Spec:
    return {"field": "minutes", "type": "quantitative", "title": title}


def _row(name: str, scale: float, value: float, low: float | None, high: float | None) -> Spec:
    """Return a row's data; one without an interval is a dot alone."""
    ends = (value, value) if low is None or high is None else (low, high)
    return {"name": name, "value": scale * value, "low": scale * ends[0], "high": scale * ends[1]}


def _rows(rows: Sequence[Spec], x: Spec, labels: Sequence[str], *below: Spec) -> str:
    y: Spec = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 320, "ticks": False, "domain": False},
    }
    line: Spec = {
        "mark": {"type": "rule", "color": ACCENT, "strokeWidth": 3, "opacity": 0.5},
        "encoding": {"x": {"field": "low", "type": "quantitative", **x}, "x2": {"field": "high"}, "y": y},
    }
    dot: Spec = {
        "mark": {"type": "circle", "color": ACCENT, "size": 70, "opacity": 1},
        "encoding": {"x": {"field": "value", "type": "quantitative", **x}, "y": y},
    }
    return _drawn(
        {
            "width": _WIDTH,
            "height": _ROW * len(rows) + 4,
            "data": {"values": list(rows)},
            "layer": [*below, line, dot],
        },
        max(map(len, labels), default=0),
    )


def _labels(names: Sequence[str]) -> list[str]:
    """Return labels short enough for a chart, no two alike: a chart would put equal ones on one row."""
    labels: list[str] = []
    for place, name in enumerate(names, 1):
        label = one_line(name, _LABEL)
        labels.append(f"{label} #{place}" if label in labels else label)
    return labels


def _drawn(spec: Spec, label_characters: int) -> str:
    # Slow to start, and only reports draw.
    import vl_convert

    left = 5 + round(_LABEL_ROOM * label_characters)
    whole: Spec = {**spec, "config": _CONFIG, "padding": {"left": left, "top": 5, "right": 12, "bottom": 5}}
    return checked(vl_convert.vegalite_to_svg(json.dumps(whole), allowed_base_urls=[]))


def checked(svg: str) -> str:
    """Return a drawing with nothing in it but shapes and text, and without links, scripts and styles.

    Raises:
        ValueError: It is not well-formed, or not an SVG.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314  (ours: entities cannot be in it, vl-convert writes no DTD)
    if root.tag != f"{_SVG}svg":
        raise ValueError(f"the drawing begins with {root.tag}, not with svg")
    _strip(root)
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(root, encoding="unicode")


def _strip(element: ElementTree.Element) -> None:
    for name in [name for name in element.attrib if name not in _ATTRIBUTES or "url(" in element.attrib[name]]:
        if name != "clip-path" or not element.attrib[name].startswith("url(#"):
            del element.attrib[name]
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.removeprefix(_SVG) not in _ELEMENTS:
            element.remove(child)
        else:
            _strip(child)
