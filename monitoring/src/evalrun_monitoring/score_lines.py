"""Scores over time with their errors, the bounds of gates, and the failures of gates."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as boards
from grafana_foundation_sdk.models import units

from evalrun_monitoring import panels
from evalrun_monitoring.panels import BAD, NEUTRAL, Property, query

Z95 = 1.96
"""Standard errors to each side of a score that form its 95% interval."""
_LOW, _HIGH = "95% low", "95% high"


@dataclass(frozen=True, slots=True)
class Scores:
    """Queries of scores. ``score`` and ``stderr`` have the same labels; ``legend`` names their lines by them."""

    score: str
    stderr: str
    legend: str
    lines: str
    """Query of a series for each line, with any value: there may be one now and several in all of the time shown."""
    bound: str
    """Query of the bounds of gates, with the label ``gate``."""
    failed: str
    """Query of the scores whose gates failed, at the time of the failure."""

    @property
    def low(self) -> str:
        """Lower end of the 95% interval."""
        return f"({self.score}) - {Z95} * ({self.stderr})"

    @property
    def high(self) -> str:
        """Upper end of the 95% interval."""
        return f"({self.score}) + {Z95} * ({self.stderr})"


def score_lines(title: str, text: str, scores: Scores) -> timeseries.Panel:
    """Build a panel with a line for each score between the thin dashed lines of its 95% interval.

    Grafana can fill the band between two series only by their names, so the band is filled only where there is a single
    line in all of the time shown.
    """
    alone = f"and on() (count(last_over_time(({scores.lines})[$__range:$__interval] @ end())) == 1)"
    targets = [
        query(scores.score, scores.legend),
        query(scores.low, scores.legend),
        query(scores.high, scores.legend),
        query(f"{scores.low} {alone}", _LOW),
        query(f"{scores.high} {alone}", _HIGH),
    ]
    targets += [
        query(scores.bound, "gate {{gate}}: " + scores.legend),
        query(scores.failed, "gate failed: " + scores.legend),
    ]
    panel = panels.course(title, text, units.NoUnit, *targets).decimals(4).fill_opacity(0)
    # By name, so that a score and the ends of its interval, which have the same name, have the same color.
    panel = panel.color_scheme(panels.color(boards.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel = panel.line_interpolation(commons.LineInterpolation.STEP_AFTER).span_nulls(True)
    dashed = Property("custom.lineStyle", {"fill": "dash", "dash": [4, 6]})
    thin, no_line = Property("custom.lineWidth", 1), Property("custom.lineWidth", 0)
    for end in ("B", "C"):
        panel = panel.override_by_query(end, [thin, dashed, _hidden(legend=True, tooltip=True)])
    filled = [Property("custom.fillBelowTo", _LOW), Property("custom.fillOpacity", 15)]
    unnamed = [no_line, panels.fixed_color(NEUTRAL), _hidden(legend=True, tooltip=False)]
    panel = panel.override_by_query("D", unnamed).override_by_query("E", [*unnamed, *filled])
    points = [Property("custom.drawStyle", "points"), Property("custom.pointSize", 9)]
    shown = Property("custom.showPoints", "always")
    panel = panel.override_by_query("F", [panels.fixed_color("text"), thin])
    panel = panel.override_by_query("G", [panels.fixed_color(BAD), *points, shown])
    return panel.height(10)


def _hidden(*, legend: bool, tooltip: bool) -> Property:
    return Property("custom.hideFrom", {"legend": legend, "tooltip": tooltip, "viz": False})
