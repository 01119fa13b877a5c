"""Comparison of two whole runs: every score that both have, the items that changed, and what the reader should know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from evalrun_runner.comparing.declared_clusters import join_clusters
from evalrun_runner.comparing.facts import FactDifference
from evalrun_runner.comparing.labels import LabelScores, label_scores
from evalrun_runner.comparing.matching import (
    LonelyItems,
    MatchedTask,
    check_agreement,
    common_tasks,
    match,
    nothing_in_common,
)
from evalrun_runner.comparing.scored import FloatArray, IntArray, ItemText, MetricName, ScoredRun
from evalrun_runner.comparing.two import ComparisonFinding, ScoreComparison, ScoreQuestion, compare_scores
from evalrun_runner.errors import InputError, listed
from evalrun_runner.statistics.interval import Interval
from evalrun_runner.statistics.multiplicity import holm
from evalrun_runner.statistics.proportions import wilson

ALL_TASKS = "all tasks"
"""Name of the row over all tasks, in which each item counts the same."""


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """What the user asks of a comparison."""

    tasks: tuple[str, ...] = ()
    """Tasks or groups; all by default."""
    metric: str | None = None
    """``metric`` or ``metric,filter``; None: each task's first one decides, the others are shown."""
    confidence: float = 0.95
    margin: float | None = None
    bounds: tuple[float, float] | None = None
    """Least and greatest possible score; None: read from the scores."""
    allow_differences: bool = False
    items: int = 5
    """Changed items that are shown, each way."""


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """An item whose score differs between two runs."""

    task: str
    metric: MetricName
    baseline: float
    candidate: float
    is_lost: bool
    """Whether the candidate has it worse."""
    text: ItemText
    """The item with the baseline's answer."""
    candidate_answer: str


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """What changes between two runs of one model."""

    flipped: int
    n: int
    interval: Interval
    """Interval of the share of flipped items."""
    points: float
    """Difference of the scores, 0 to 1, that two such runs reach by chance alone (95%)."""


@dataclass(frozen=True, slots=True)
class TwoRunReport:
    """Comparison of two runs."""

    baseline: ScoredRun
    candidate: ScoredRun
    scores: tuple[ScoreComparison, ...]
    """Every score that both have."""
    headline: ScoreComparison
    """The score that the first sentence is about: the only one, or that of all tasks together."""
    tasks: int
    """Number of leaf tasks in it."""
    labels: tuple[LabelScores, ...]
    """Precision, recall, F1 and kappa of both runs, of metrics that are computed of classes."""
    noise: NoiseFloor | None
    """Given where both runs are of one model."""
    changed: tuple[ChangedItem, ...]
    lonely: tuple[LonelyItems, ...]
    differences: tuple[FactDifference, ...]
    notes: tuple[str, ...]


def compare_two(baseline: ScoredRun, candidate: ScoredRun, request: ComparisonRequest) -> TwoRunReport:
    """Compare two runs.

    Raises:
        InputError: They have nothing in common, or did not ask the same.
        LedgerCorrupt: An object of a run is damaged.
        StoreError: A run cannot be read.
    """
    tasks = common_tasks((baseline, candidate), request.tasks)
    found = check_agreement((baseline, candidate), tasks, allow=request.allow_differences)
    matched = [match(baseline, candidate, task, differ=bool(found), allow=request.allow_differences) for task in tasks]
    scores: list[ScoreComparison] = []
    first: dict[str, _Decisive] = {}
    for one in matched:
        clusters = baseline.clusters(one.task)
        clusters = None if clusters is None else clusters[one.pairing.first]
        lower = baseline.facts.lower_is_better | candidate.facts.lower_is_better
        for metric in metrics_of(one, baseline, request):
            ours, theirs = paired_values(one, metric)
            question = ScoreQuestion(
                request.confidence, request.bounds, (one.task, metric.metric) in lower, request.margin
            )
            scores.append(compare_scores(one.task, metric, ours, theirs, question, clusters))
            first.setdefault(one.task, _Decisive(metric, ours, theirs, clusters))
    if not scores:
        raise InputError(_no_scores(matched, request))
    scores = _adjusted(scores, request.confidence)
    decided = [score for score in scores if score.metric == first[score.task].metric]
    headline = _together(decided, first, request) if len(decided) > 1 else decided[0]
    if not headline.n:
        raise InputError(nothing_in_common([baseline.label, candidate.label], request.metric))
    return TwoRunReport(
        baseline=baseline,
        candidate=candidate,
        scores=tuple(scores),
        headline=headline,
        tasks=len(decided),
        labels=tuple(_labels(baseline, candidate, matched, scores, request.confidence)),
        noise=_noise(headline) if are_of_one_model(baseline, candidate) and baseline.place != candidate.place else None,
        changed=_changed_items(baseline, candidate, matched, decided, request.items),
        lonely=tuple(lonely for one in matched for lonely in one.lonely),
        differences=found,
        notes=tuple(_notes(baseline, candidate, tasks, matched)),
    )


def metrics_of(one: MatchedTask, run: ScoredRun, request: ComparisonRequest) -> list[MetricName]:
    """Return the metrics of a task that both have, the one that decides first."""
    both = [metric for metric in one.first.values if metric in one.second.values]
    if request.metric is not None:
        return [metric for metric in both if request.metric in {metric.metric, f"{metric.metric},{metric.filter}"}]
    order = {name: place for place, name in enumerate(run.facts.metrics.get(one.task, ()))}
    return sorted(both, key=lambda metric: order.get(metric.metric, len(order)))


def paired_values(one: MatchedTask, metric: MetricName) -> tuple[FloatArray, FloatArray]:
    """Return the scores of the common items in both runs."""
    return one.first.values[metric][one.pairing.first], one.second.values[metric][one.pairing.second]


def are_of_one_model(first: ScoredRun, second: ScoredRun) -> bool:
    """Return whether two runs are of the same model: same content where it is known, else the same name."""
    ours, theirs = first.facts, second.facts
    if ours.model_identity and theirs.model_identity:
        return ours.model_identity == theirs.model_identity
    return ours.source == theirs.source != "table" and ours.model == theirs.model != ""


class _Decisive(NamedTuple):
    """The scores of a task that decide, and its clusters."""

    metric: MetricName
    baseline: FloatArray
    candidate: FloatArray
    clusters: IntArray | None


def _together(
    decided: Sequence[ScoreComparison],
    first: Mapping[str, _Decisive],
    request: ComparisonRequest,
) -> ScoreComparison:
    """Compare all tasks together, each item counted the same; the first task alone where their scores do not mix."""
    alike = {(score.is_share, score.lower_is_better) for score in decided}
    if alike != {(True, decided[0].lower_is_better)}:
        return decided[0]
    metrics = {score.metric for score in decided}
    metric = metrics.pop() if len(metrics) == 1 else MetricName("score")
    parts = [first[score.task] for score in decided]
    ours, theirs = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    clusters = join_clusters([(len(part.baseline), part.clusters) for part in parts])
    question = ScoreQuestion(request.confidence, request.bounds, decided[0].lower_is_better, request.margin)
    return compare_scores(ALL_TASKS, metric, ours, theirs, question, clusters)


def _adjusted(scores: Sequence[ScoreComparison], confidence: float) -> list[ScoreComparison]:
    """Judge each score at what Holm's procedure leaves it: of many tasks some differ by chance."""
    judged = list(scores)
    for metric in {score.metric for score in scores}:
        places = [place for place, score in enumerate(scores) if score.metric == metric]
        for place, p in zip(places, holm([scores[place].p for place in places]), strict=True):
            if p > 1 - confidence:
                judged[place] = replace(scores[place], finding=ComparisonFinding.UNDECIDED)
    return judged


def _labels(
    baseline: ScoredRun,
    candidate: ScoredRun,
    matched: Sequence[MatchedTask],
    scores: Sequence[ScoreComparison],
    confidence: float,
) -> Iterator[LabelScores]:
    by_task = {one.task: one for one in matched}
    for score in scores:
        one = by_task[score.task]
        for run, of_run, places in (
            (baseline, one.first, one.pairing.first),
            (candidate, one.second, one.pairing.second),
        ):
            if score.metric in of_run.labels:
                labels = of_run.labels[score.metric]
                yield label_scores(run.label, score.task, score.metric, labels, places, confidence)


def _noise(score: ScoreComparison) -> NoiseFloor | None:
    if not score.is_share or not score.n:
        return None
    interval = wilson(score.changed, score.n, score.interval.confidence)
    # Flips go either way with equal chance: their difference has a variance of their number.
    return NoiseFloor(score.changed, score.n, interval, 1.96 * float(np.sqrt(max(score.changed, 1))) / score.n)


def _changed_items(
    baseline: ScoredRun,
    candidate: ScoredRun,
    matched: Sequence[MatchedTask],
    decided: Sequence[ScoreComparison],
    most: int,
) -> tuple[ChangedItem, ...]:
    """Read the first few items that were lost, and the first few that were gained."""
    by_task = {one.task: one for one in matched}
    found: list[ChangedItem] = []
    for is_lost in (True, False):
        left = most
        for score in decided:
            if left <= 0 or not (score.lost if is_lost else score.gained):
                continue
            one = by_task[score.task]
            ours, theirs = paired_values(one, score.metric)
            worse = (theirs > ours) if score.lower_is_better else (theirs < ours)
            better = (theirs < ours) if score.lower_is_better else (theirs > ours)
            places = np.flatnonzero(worse if is_lost else better)[:left]
            texts = baseline.texts(one.task, one.pairing.first[places].tolist())
            others = candidate.texts(one.task, one.pairing.second[places].tolist())
            found.extend(
                ChangedItem(
                    one.task, score.metric, float(ours[place]), float(theirs[place]), is_lost, text, other.answer
                )
                for place, text, other in zip(places, texts, others, strict=True)
            )
            left -= len(places)
    return tuple(found)


def _notes(
    baseline: ScoredRun, candidate: ScoredRun, tasks: Sequence[str], matched: Sequence[MatchedTask]
) -> list[str]:
    notes = []
    if baseline.place == candidate.place:
        notes.append(f"{baseline.place} is given twice: that says nothing of the noise between two runs")
    for run in (baseline, candidate):
        if alone := [task for task in run.tasks if task not in tasks]:
            notes.append(f"left out of {run.label}, as not in both or not asked for: {listed(alone, 5)}")
        if run.facts.engine == "mock":
            notes.append(f"{run.label} was made with the mock engine, which makes its answers up")
    ours, theirs = baseline.facts.harness, candidate.facts.harness
    if ours and theirs and ours != theirs:
        notes.append(f"{baseline.label} was scored by lm-eval {ours}, {candidate.label} by {theirs}")
    for one in matched:
        unusable = {**one.first.unusable, **one.second.unusable}
        notes.extend(f"{one.task}: {metric} cannot be compared item by item: {why}" for metric, why in unusable.items())
    return notes


def _no_scores(matched: Sequence[MatchedTask], request: ComparisonRequest) -> str:
    there = sorted({str(metric) for one in matched for metric in one.first.values if metric in one.second.values})
    if request.metric is not None and there:
        return f"--metric {request.metric}: no such metric in both runs; there are {listed(there, 10)}"
    why = [f"{metric}: {reason}" for one in matched for metric, reason in one.first.unusable.items()]
    return f"the runs have no score of an item in common{': ' + listed(why, 3) if why else ''}"
