"""Metrics of running scores: means over the answers so far."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_api.metrics import driver, label_value, scores
from evalrun_runner.benchmarks.running_scores import mean_and_stderr
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.records.results import MeanTally
from evalrun_runner.serving.metrics.families import Families

MOST_SCORES = 300
"""Maximum number of scores with series, in the plan's order."""
NOT_FINAL = "false"

Row = tuple[str, str, str, str]
"""Labels of a score: (task, metric, filter, better)."""


def add_scores(families: Families, telemetry: TelemetrySnapshot, model: str) -> None:
    """Add the first scores in the plan's order, and the number of dropped ones."""
    reported: set[Row] = set()
    dropped = 0
    for row, tally in _rows(telemetry):
        # Two long names may be truncated to the same one, and Prometheus refuses duplicate series.
        if len(reported) == MOST_SCORES or row in reported:
            dropped += 1
            continue
        reported.add(row)
        task, metric, filter_name, better = row
        labels = (model, task, metric, filter_name, NOT_FINAL, better)
        mean, stderr = mean_and_stderr(tally)
        families.add(scores.SCORE, mean, *labels)
        if stderr is not None:
            families.add(scores.SCORE_STDERR, stderr, *labels)
        families.add(scores.SCORE_ITEMS, tally.n, *labels)
    families.add(driver.SERIES_DROPPED, dropped, "scores")


def _rows(telemetry: TelemetrySnapshot) -> Iterator[tuple[Row, MeanTally]]:
    for task, metrics in telemetry.running.items():
        tallies = telemetry.scores.get(task, {})
        for metric, filter_name in sorted(tallies):
            better, tally = metrics.get(metric), tallies[metric, filter_name]
            if better is not None and tally.n:
                yield (label_value(task), label_value(metric), label_value(filter_name), better), tally
