"""Running scores: means over what is answered so far."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_api.metrics import driver, label_value, scores
from evalrun_runner.benchmarks.running_scores import mean_and_stderr
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.records.results import Tally
from evalrun_runner.serving.metrics.families import Families

MOST_SCORES = 300
"""Scores with series of their own, in the plan's order."""
NOT_FINAL = "false"

Row = tuple[str, str, str, str]
"""(task, metric, filter, better)"""


def tell_scores(families: Families, telemetry: TelemetrySnapshot, model: str) -> None:
    """The first scores in the plan's order, and how many are dropped."""
    told: set[Row] = set()
    dropped = 0
    for row, tally in _rows(telemetry):
        # Two long names may be cut to the same one; a series twice would be refused.
        if len(told) == MOST_SCORES or row in told:
            dropped += 1
            continue
        told.add(row)
        task, metric, filter_name, better = row
        labels = (model, task, metric, filter_name, NOT_FINAL, better)
        mean, stderr = mean_and_stderr(tally)
        families.tell(scores.SCORE, mean, *labels)
        if stderr is not None:
            families.tell(scores.SCORE_STDERR, stderr, *labels)
        families.tell(scores.SCORE_ITEMS, tally.n, *labels)
    families.tell(driver.SERIES_DROPPED, dropped, "scores")


def _rows(telemetry: TelemetrySnapshot) -> Iterator[tuple[Row, Tally]]:
    for task, metrics in telemetry.running.items():
        tallies = telemetry.scores.get(task, {})
        for metric, filter_name in sorted(tallies):
            better, tally = metrics.get(metric), tallies[metric, filter_name]
            if better is not None and tally.n:
                yield (label_value(task), label_value(metric), label_value(filter_name), better), tally
