"""The queries of the dashboards, for callers without a Grafana: tests, and pictures in the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.models import dashboard as boards
from grafana_foundation_sdk.models import prometheus

from evalrun_monitoring.boards import dashboards

_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)(?::(?P<format>\w+))?\}|\$(?P<plain>\w+)")
_REGEX_SIGNS = re.compile(r"[\\^$*+?.()|\[\]{}/]")
EVERYTHING = ".*"
"""Value that Grafana inserts for a variable whose ``All`` is chosen."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel. ``instant``: at the end of the time shown, not over time."""

    dashboard: str
    """Uid of the dashboard."""
    panel: str
    """Title of the panel."""
    expr: str
    legend: str
    instant: bool


def queries() -> tuple[Query, ...]:
    """List the queries of all panels of all dashboards, in their order."""
    return tuple(query for board in dashboards() for query in _of(board))


def fill(expr: str, values: Mapping[str, str]) -> str:
    """Replace the variables of a query (``namespace``, ``__range``, …) the way Grafana does.

    Args:
        expr: The query.
        values: Values by variable. For a variable with several values it is a name, which is escaped as the variable's
            format
        requires, or ``EVERYTHING``.

    Raises:
        KeyError: A variable has no value.
    """

    def value(match: re.Match[str]) -> str:
        text = values[match["braced"] or match["plain"]]
        if text != EVERYTHING and match["format"] == "regex":
            return _REGEX_SIGNS.sub(r"\\\g<0>", text)
        return text

    return _VARIABLE.sub(value, expr)


def _of(board: boards.Dashboard) -> list[Query]:
    found = []
    for panel in board.panels or []:
        for target in panel.targets or [] if isinstance(panel, boards.Panel) else []:
            assert isinstance(target, prometheus.Dataquery)
            legend = target.legend_format or ""
            found.append(Query(board.uid or "", panel.title or "", target.expr, legend, bool(target.instant)))
    return found
