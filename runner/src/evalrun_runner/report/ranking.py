"""Order of several runs: which ranks each of them may have, and which cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from evalrun_runner.comparing.matching import check_agreement, common_tasks, finest_common, keys_of
from evalrun_runner.comparing.pairing import union
from evalrun_runner.comparing.scored import FloatArray, ItemScores, MetricName, ScoredRun
from evalrun_runner.report.content import Ranking, RankLine
from evalrun_runner.report.text import one_line
from evalrun_runner.statistics.many import ManyComparison, compare_all

MOST_RANKINGS = 5
"""Tasks of which an order is shown."""


def rankings(runs: Sequence[ScoredRun]) -> tuple[Ranking, ...]:
    """Put runs in order by the first score of each task that all of them have.

    Args:
        runs: Two or more.

    Raises:
        InputError: They have nothing in common.
        LedgerCorrupt: An object of one is damaged.
        StoreError: One cannot be read.
    """
    tasks = common_tasks(runs)
    kind = finest_common(runs, differ=bool(check_agreement(runs, tasks, allow=True)))
    found = []
    for task in tasks[:MOST_RANKINGS]:
        scores = [run.scores(task) for run in runs]
        metric = _metric(runs[0], task, scores)
        if metric is None:
            continue
        matrix = union(keys_of(runs, task, scores, kind), [of_run.values[metric] for of_run in scores])
        complete = matrix[:, ~np.isnan(matrix).any(axis=0)]
        # A score of which less is better is turned round, so that the best one is the first.
        sign = -1.0 if (task, metric.metric) in runs[0].facts.lower_is_better else 1.0
        if complete.shape[1]:
            compared = compare_all(sign * complete, bounds=_bounds(sign * complete))
            lines = tuple(_lines([run.label for run in runs], compared, sign))
            found.append(Ranking(one_line(f"{task} {metric}"), complete.shape[1], lines))
    return tuple(found)


def _metric(run: ScoredRun, task: str, scores: Sequence[ItemScores]) -> MetricName | None:
    """Return the first metric of the task's configuration that all runs have a number of."""
    order = {name: place for place, name in enumerate(run.facts.metrics.get(task, ()))}
    shared = [metric for metric in scores[0].values if all(metric in one.values for one in scores[1:])]
    return min(shared, key=lambda metric: order.get(metric.metric, len(order)), default=None)


def _bounds(scores: FloatArray) -> tuple[float, float] | None:
    """Return the least and the greatest possible score: of shares, as they are or turned round; else None."""
    low, high = float(scores.min()), float(scores.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (-1.0, 0.0) if low >= -1 and high <= 0 else None


def _lines(labels: Sequence[str], found: ManyComparison, sign: float) -> Iterator[RankLine]:
    for place in found.order.tolist():
        tied = [one_line(labels[other]) for other in found.order.tolist() if _is_tied(found, place, other)]
        yield RankLine(
            label=one_line(labels[place]),
            score=sign * float(found.scores[place]),
            best=int(found.rank_low[place]),
            worst=int(found.rank_high[place]),
            tied_with=tuple(tied),
        )


def _is_tied(found: ManyComparison, one: int, other: int) -> bool:
    return one != other and not bool(found.separated[one, other])
