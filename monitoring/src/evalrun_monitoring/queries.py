"""The dashboards' queries, for those who run them without a Grafana: tests, and pictures in the docs."""

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
"""What Grafana puts in for a variable whose ``All`` is chosen."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel. ``instant``: of the last moment shown, not over time."""

    dashboard: str
    """The uid."""
    panel: str
    """The panel's title."""
    expr: str
    legend: str
    instant: bool


def queries() -> tuple[Query, ...]:
    """The queries of all panels of all dashboards, in their order."""
    return tuple(query for board in dashboards() for query in _of(board))


def fill(expr: str, values: Mapping[str, str]) -> str:
    """The query with values for its variables (``namespace``, ``__range``, …), put in as Grafana does.

    A value of several-valued variables is a name, escaped as their format says, or ``EVERYTHING``. Raises
    ``KeyError`` where a variable has no value.
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
