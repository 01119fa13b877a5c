"""The series of one run, from its spec and its status. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from evalrun_api import ConditionType, EvalRun, EvalRunStatus, GateResult, Phase, Reason, Verdict
from evalrun_api.metrics import Metric, label_value
from evalrun_api.metrics.operator import (
    RUN_ATTEMPT,
    RUN_CREATED,
    RUN_FINISHED,
    RUN_GPUS,
    RUN_INFO,
    RUN_ITEMS,
    RUN_PHASE,
    RUN_REPLICAS,
    RUN_STARTED,
)
from evalrun_api.metrics.scores import GATE, GATE_BOUND, SCORE, SCORE_HIGH, SCORE_ITEMS, SCORE_LOW, SCORE_STDERR
from evalrun_operator.backend.resources import gpus_per_replica
from evalrun_operator.metrics.families import Labels

METRICS: tuple[Metric, ...] = (
    RUN_INFO,
    RUN_PHASE,
    RUN_CREATED,
    RUN_STARTED,
    RUN_FINISHED,
    RUN_ATTEMPT,
    RUN_REPLICAS,
    RUN_GPUS,
    RUN_ITEMS,
    SCORE,
    SCORE_STDERR,
    SCORE_LOW,
    SCORE_HIGH,
    SCORE_ITEMS,
    GATE,
    GATE_BOUND,
)
"""Metrics with series of each run."""

Series = Mapping[Metric, Mapping[Labels, float]]
_Sample = tuple[Metric, float | None, Labels]
"""A metric, its value (None: no such series), and its labels after those of the run."""


def series_of(run: EvalRun, status: EvalRunStatus, *, invalid: bool = False) -> Series:
    """Return the series of a run; of two with the same labels, as a driver could report, only the first.

    Args:
        run: The run.
        status: Its status.
        invalid: Whether its spec may be a placeholder.
    """
    key = (label_value(run.metadata.namespace or ""), label_value(run.metadata.name or ""))
    model = label_value(run.spec.model.resolved_name)
    series: dict[Metric, dict[Labels, float]] = {}
    for metric, value, labels in _samples(run, status, model, "unknown" if invalid else _engine(run)):
        if value is not None:
            series.setdefault(metric, {}).setdefault((*key, *labels), value)
    return series


def _samples(run: EvalRun, status: EvalRunStatus, model: str, engine: str) -> Iterator[_Sample]:
    phase = status.phase or Phase.PENDING
    yield RUN_INFO, 1.0, (model, engine)
    yield RUN_PHASE, 1.0, (phase.value,)
    yield RUN_CREATED, _seconds(run.metadata.creation_timestamp), ()
    yield RUN_STARTED, _seconds(status.started_at), ()
    yield RUN_ATTEMPT, status.attempt, ()
    if phase.finished:
        yield RUN_FINISHED, _seconds(status.finished_at), ()
        yield from _outcome(status, model)
    else:
        yield RUN_REPLICAS, run.spec.replicas.count, ("desired",)
        yield RUN_REPLICAS, 0 if status.replicas is None else status.replicas.ready, ("ready",)
        yield RUN_GPUS, gpus_per_replica(run.spec) * run.spec.replicas.count, ()


def _outcome(status: EvalRunStatus, model: str) -> Iterator[_Sample]:
    if status.progress is not None:
        for name in ("ok", "failed", "quarantined", "skipped"):
            yield RUN_ITEMS, getattr(status.progress, name), (name,)
    complete = status.condition(ConditionType.COMPLETE)
    # Which items a run has that stopped early was decided by their scores: they are no points of a history.
    scores = () if complete is not None and complete.reason == Reason.STOPPED_EARLY else status.scores
    for score in scores:
        if score.value is not None:
            better = "lower" if score.lower_is_better else "higher"
            labels = (model, label_value(score.task), label_value(score.metric), label_value(score.filter))
            yield SCORE, score.value, (*labels, "true", better)
            yield SCORE_STDERR, score.stderr, (*labels, "true", better)
            interval = score.interval
            yield SCORE_LOW, None if interval is None else interval.low, (*labels, "true", better)
            yield SCORE_HIGH, None if interval is None else interval.high, (*labels, "true", better)
            yield SCORE_ITEMS, score.n, (*labels, "true", better)
    yield from _gates(status.gates, model)


def _gates(gates: tuple[GateResult, ...], model: str) -> Iterator[_Sample]:
    """Yield the worst verdict and the strictest bound of gates with the same labels; advisory gates alert nobody."""
    verdicts: dict[Labels, list[Verdict]] = {}
    bounds: dict[Labels, list[float]] = {}
    for gate in gates:
        if gate.advisory:
            continue
        task = gate.stands_for or gate.task
        labels = (model, label_value(task), label_value(gate.metric), label_value(gate.filter))
        for kind, bound in (("min", gate.min), ("max", gate.max)):
            if bound is not None:
                verdicts.setdefault((*labels, kind), []).append(gate.verdict)
                bounds.setdefault((*labels, kind), []).append(bound)
        if gate.baseline is not None:
            verdicts.setdefault((*labels, "baseline"), []).append(gate.verdict)
    for which, some in verdicts.items():
        worst = Verdict.overall(some)
        assert worst is not None
        yield GATE, 1.0, (*which, worst.value)
    for which, values in bounds.items():
        yield GATE_BOUND, max(values) if which[-1] == "min" else min(values), which


def _engine(run: EvalRun) -> str:
    engine = run.spec.engine
    return "vllm" if engine.vllm is not None else "mock" if engine.mock is not None else "recorded"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
