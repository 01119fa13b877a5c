"""Comparison of many runs: who is better than whom, which ranks are possible, and who cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalrun_runner.comparing.comparison import ALL_TASKS, ComparisonRequest
from evalrun_runner.comparing.facts import FactDifference
from evalrun_runner.comparing.matching import check_agreement, common_tasks, finest_common, keys_of, nothing_in_common
from evalrun_runner.comparing.pairing import union
from evalrun_runner.comparing.scored import FloatArray, ItemScores, MetricName, ScoredRun
from evalrun_runner.comparing.two import UNIT_RANGE, bounds_of
from evalrun_runner.errors import InputError, listed
from evalrun_runner.statistics.interval import Interval
from evalrun_runner.statistics.many import PairTable, compare_all
from evalrun_runner.statistics.scores import ScoreData, score_interval


@dataclass(frozen=True, slots=True)
class RankedRun:
    """A run among others."""

    label: str
    score: float
    """Mean of its scored items."""
    interval: Interval | None
    """Interval of the score; None where the scores allow none."""
    n: int
    """Items with a score."""
    rank: int
    """Place by score, from 1."""
    best_rank: int
    """1 and the runs that are shown to be better."""
    worst_rank: int
    """Number of runs less those that are shown to be worse."""


@dataclass(frozen=True, slots=True)
class RankedPair:
    """Two runs of many."""

    first: str
    """Label of the one with the higher place."""
    second: str
    n: int
    """Items that both have a score of."""
    difference: float
    """By how much the first is better on these items; nan without any."""
    low: float
    high: float
    p: float | None
    """Two-sided p-value; None without common items."""
    holm: float | None
    """p-value adjusted by Holm's procedure over all pairs: what decides."""
    benjamini_hochberg: float | None


@dataclass(frozen=True, slots=True)
class ManyRunReport:
    """Comparison of three runs or more by one score."""

    runs: tuple[ScoredRun, ...]
    task: str
    """Leaf task, or all tasks together."""
    metric: MetricName
    is_share: bool
    lower_is_better: bool
    items: int
    """Items of any run."""
    complete: int
    """Items that every run has a score of."""
    ranking: tuple[RankedRun, ...]
    """Runs, the best first."""
    groups: tuple[tuple[int, ...], ...]
    """Runs that cannot be told apart, by their places in ``ranking``; a run may be in several groups."""
    pairs: tuple[RankedPair, ...]
    omnibus: tuple[float, int, float] | None
    """Cochran's Q, its degrees of freedom and its p-value; None unless scores are 0 and 1."""
    differences: tuple[FactDifference, ...]
    notes: tuple[str, ...]

    @property
    def top(self) -> tuple[RankedRun, ...]:
        """Runs that may be the best one."""
        return tuple(run for run in self.ranking if run.best_rank == 1)


def compare_many(runs: Sequence[ScoredRun], request: ComparisonRequest) -> ManyRunReport:
    """Compare three runs or more by one score: the first metric of each task, all tasks together.

    Raises:
        InputError: They have nothing in common, or were not asked the same.
        LedgerCorrupt: An object of a run is damaged.
        StoreError: A run cannot be read.
    """
    tasks = common_tasks(runs, request.tasks)
    found = check_agreement(runs, tasks, allow=request.allow_differences)
    kind = finest_common(runs, differ=bool(found))
    blocks: list[FloatArray] = []
    metrics: set[MetricName] = set()
    lower: set[bool] = set()
    for task in tasks:
        scores = [run.scores(task) for run in runs]
        metric = _metric(task, scores, runs[0], request)
        metrics.add(metric)
        lower.add(any((task, metric.metric) in run.facts.lower_is_better for run in runs))
        if len({of_run.order for of_run in scores}) == 1 and scores[0].order is not None:
            blocks.append(np.vstack([of_run.values[metric] for of_run in scores]))
        else:
            blocks.append(union(keys_of(runs, task, scores, kind), [of_run.values[metric] for of_run in scores]))
    if len(lower) > 1:
        raise InputError("of some tasks a lower score is better, of others a higher one\nhint: choose with --task")
    matrix = np.hstack(blocks)
    metric = metrics.pop() if len(metrics) == 1 else MetricName("score")
    return _ranked(
        _Ranked(tuple(runs), tasks[0] if len(tasks) == 1 else ALL_TASKS, metric, lower.pop(), matrix),
        request,
        found,
        tuple(_notes(runs, tasks, matrix)),
    )


@dataclass(frozen=True, slots=True)
class _Ranked:
    runs: tuple[ScoredRun, ...]
    task: str
    metric: MetricName
    lower_is_better: bool
    matrix: FloatArray


def _ranked(
    asked: _Ranked, request: ComparisonRequest, found: tuple[FactDifference, ...], notes: tuple[str, ...]
) -> ManyRunReport:
    scored = asked.matrix[~np.isnan(asked.matrix)]
    bounds = bounds_of((scored,), request.bounds)
    # Turned around where a lower score is better, so that more is better below.
    matrix = asked.matrix
    if asked.lower_is_better:
        matrix = (0.0 if bounds is None else sum(bounds)) - matrix
    many = compare_all(matrix, request.confidence, bounds=bounds)
    if not many.pairs.n.any():
        raise InputError(nothing_in_common([run.label for run in asked.runs], request.metric))
    order = many.order.tolist()
    labels = [run.label for run in asked.runs]
    ranking = []
    for rank, model in enumerate(order, 1):
        scores = asked.matrix[model][~np.isnan(asked.matrix[model])]
        interval = score_interval(ScoreData(scores, bounds=bounds), request.confidence)
        ranking.append(
            RankedRun(
                label=labels[model],
                score=float(scores.mean()) if len(scores) else float("nan"),
                interval=interval if isinstance(interval, Interval) else None,
                n=len(scores),
                rank=rank,
                best_rank=int(many.rank_low[model]),
                worst_rank=int(many.rank_high[model]),
            )
        )
    omnibus = many.omnibus
    return ManyRunReport(
        runs=asked.runs,
        task=asked.task,
        metric=asked.metric,
        is_share=bounds == UNIT_RANGE,
        lower_is_better=asked.lower_is_better,
        items=matrix.shape[1],
        complete=int(np.count_nonzero(~np.isnan(matrix).any(axis=0))),
        ranking=tuple(ranking),
        groups=tuple(tuple(order.index(model) for model in group) for group in many.groups),
        pairs=tuple(_pairs(many.pairs, labels, {model: place for place, model in enumerate(order)})),
        omnibus=None if omnibus is None else (omnibus.q, omnibus.df, omnibus.p),
        differences=found,
        notes=notes,
    )


def _pairs(table: PairTable, labels: Sequence[str], places: Mapping[int, int]) -> Iterator[RankedPair]:
    """Return every pair, the one with the higher place first."""
    for pair, (first, second) in enumerate(zip(table.first.tolist(), table.second.tolist(), strict=True)):
        turned = places[first] > places[second]
        low, high = (float(bound) for bound in table.interval[:, pair])
        difference = float(table.difference[pair])
        yield RankedPair(
            first=labels[second if turned else first],
            second=labels[first if turned else second],
            n=int(table.n[pair]),
            difference=-difference if turned else difference,
            low=-high if turned else low,
            high=-low if turned else high,
            p=_known(table.p[pair]),
            holm=_known(table.holm[pair]),
            benjamini_hochberg=_known(table.fdr[pair]),
        )


def _known(p: float) -> float | None:
    return None if np.isnan(p) else float(p)


def _metric(task: str, scores: Sequence[ItemScores], first: ScoredRun, request: ComparisonRequest) -> MetricName:
    """Return the metric of a task by which the runs are ranked.

    Raises:
        InputError: They have none in common.
    """
    shared = [metric for metric in scores[0].values if all(metric in one.values for one in scores[1:])]
    if request.metric is not None:
        wanted = [one for one in shared if request.metric in {one.metric, f"{one.metric},{one.filter}"}]
    else:
        order = {name: place for place, name in enumerate(first.facts.metrics.get(task, ()))}
        wanted = sorted(shared, key=lambda one: order.get(one.metric, len(order)))
    if not wanted:
        raise InputError(
            f"{task}: no such metric in all runs; there are {listed([str(one) for one in shared], 10) or 'none'}"
        )
    return wanted[0]


def _notes(runs: Sequence[ScoredRun], tasks: Sequence[str], matrix: FloatArray) -> list[str]:
    clustered = [task for task in tasks if runs[0].clusters(task) is not None]
    notes = [f"{task} declares clusters, and ranks take its items for independent" for task in clustered]
    for run, row in zip(runs, matrix, strict=True):
        if missing := int(np.count_nonzero(np.isnan(row))):
            notes.append(f"{run.label} has no score of {missing:,} of {len(row):,} items")
        if alone := [task for task in run.tasks if task not in tasks]:
            notes.append(f"left out of {run.label}, as not in all or not asked for: {listed(alone, 5)}")
        if run.facts.engine == "mock":
            notes.append(f"{run.label} was made with the mock engine, which makes its answers up")
    return notes
