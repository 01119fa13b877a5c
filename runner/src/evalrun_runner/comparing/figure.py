"""Picture of a ranking as SVG: scores with their intervals, and beside them bars over runs that cannot be told apart.

It is read like a critical-difference diagram (Demšar, JMLR 7 (2006) 1), with bars from pairwise tests instead of one
distance for all: on scores of 0 and 1, Nemenyi's distance misses a third of the differences that the pairs show.
"""

from __future__ import annotations

import json

from evalrun_runner.comparing.ranking import ManyRunReport

_WIDTH, _ROW, _BAR = 420, 18, 14
"""Pixels: of the scores, of a run's row, of a bar."""


def ranking_svg(report: ManyRunReport) -> str:
    """Draw a ranking."""
    # Not before it is needed: it brings a JavaScript engine.
    import vl_convert

    return str(vl_convert.vegalite_to_svg(json.dumps(_specification(report)), allowed_base_urls=[]))


def _specification(report: ManyRunReport) -> dict[str, object]:
    labels = [run.label for run in report.ranking]
    runs = [
        {
            "run": run.label,
            "score": run.score,
            "low": run.score if run.interval is None else run.interval.low,
            "high": run.score if run.interval is None else run.interval.high,
        }
        for run in report.ranking
    ]
    groups = [group for group in report.groups if len(group) > 1]
    bars = [
        {"group": number, "from": labels[min(group)], "to": labels[max(group)]}
        for number, group in enumerate(groups, 1)
    ]
    axis: dict[str, object] = {"field": "run", "type": "nominal", "sort": labels, "title": None}
    height = _ROW * len(labels)
    share = {"format": ".0%"} if report.is_share else {}
    scores: dict[str, object] = {
        "width": _WIDTH,
        "height": height,
        "data": {"values": runs},
        "encoding": {"y": {**axis, "axis": {"labelLimit": 260}}},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": "#7f9bb8"},
                "encoding": {
                    "x": {
                        "field": "low",
                        "type": "quantitative",
                        "title": str(report.metric),
                        "scale": {"zero": False},
                        "axis": share,
                    },
                    "x2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 45, "color": "#1f4e79"},
                "encoding": {"x": {"field": "score", "type": "quantitative"}},
            },
        ],
    }
    cliques: dict[str, object] = {
        "width": _BAR * max(1, len(groups)),
        "height": height,
        "data": {"values": bars},
        "mark": {"type": "rule", "strokeWidth": 4, "color": "#444444"},
        "encoding": {
            "x": {"field": "group", "type": "ordinal", "axis": None},
            "y": {
                "field": "from",
                "type": "nominal",
                "sort": labels,
                "scale": {"domain": labels},
                "axis": None,
            },
            "y2": {"field": "to"},
        },
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": "Scores; runs beside one bar cannot be told apart",
        "hconcat": [scores, *([cliques] if bars else [])],
        "config": {"view": {"stroke": None}},
    }
