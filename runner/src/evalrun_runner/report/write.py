"""Render a report and put it beside the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from evalrun_runner.report import charts
from evalrun_runner.report.collect import headline_scores
from evalrun_runner.report.content import BaselineComparison, Ranking, ReportContent
from evalrun_runner.report.markdown import markdown
from evalrun_runner.report.page import PageCharts, html

MOST_DRAWN = 40
"""Rows of a picture; the table below it has all of them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """The two forms of a report."""

    html: bytes
    """``report.html``."""
    markdown: bytes
    """``report.md``."""


def render(content: ReportContent, log: Callable[[str], None]) -> RenderedReport:
    """Render both forms; a picture that cannot be drawn is left out, and ``log`` receives why."""
    forest = headline_scores(content.scores, MOST_DRAWN)
    drawn = PageCharts(
        forest=_drawn(lambda: charts.forest(forest), log) if forest else None,
        changes=_changes(content.comparison, log),
        ranks=tuple(_ranks(ranking, log) for ranking in content.rankings),
        pace=_pace(content, log),
    )
    return RenderedReport(html(content, drawn), markdown(content))


def _changes(comparison: BaselineComparison | None, log: Callable[[str], None]) -> charts.Chart | None:
    lines = [] if comparison is None else [line for line in comparison.lines if line.is_share][:MOST_DRAWN]
    return _drawn(lambda: charts.changes(lines), log) if lines else None


def _ranks(ranking: Ranking, log: Callable[[str], None]) -> charts.Chart | None:
    return _drawn(lambda: charts.ranks(ranking.lines[:MOST_DRAWN]), log)


def _pace(content: ReportContent, log: Callable[[str], None]) -> charts.Chart | None:
    points = () if content.pace is None else content.pace.points
    return _drawn(lambda: charts.pace(points), log) if len(points) > 1 else None


def _drawn(draw: Callable[[], charts.Chart], log: Callable[[str], None]) -> charts.Chart | None:
    """Draw; the libraries are large, and a report without a picture is still a report."""
    try:
        return draw()
    except Exception as error:  # noqa: BLE001
        log(f"warning: the report lacks a picture: {type(error).__name__}: {error}"[:500])
        return None
