"""Gate: what a score must reach for the run to pass."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import Model, ObjectName, RunUri, TaskName
from evalrun_api.rules import Rule, exactly_one

CONFIDENCE = 0.95
"""Default of a gate's ``confidence``."""


class RunReference(Model):
    """An earlier run: by its name in the same namespace, or by the location of its results."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("run_name", "uri", of="reference to a run"),
        Rule(
            cel="!has(self.uri) || self.uri.startsWith('s3://')",
            message="in a cluster results are on S3 (s3://bucket/path/); other paths are for local runs",
            holds=lambda run: run.uri is None or run.uri.startswith("s3://"),
            field="uri",
            cluster_only=True,
        ),
    )

    run_name: ObjectName | None = None
    """Name of an EvalRun in the same namespace."""
    uri: RunUri | None = None
    """Folder of a run's results; a path is relative to the EvalRun's file."""


class GateRule(StrEnum):
    """What of a score must reach a gate's bounds."""

    INTERVAL = "interval"
    """The confidence bound: a pass and a failure are each wrong in at most 1 - confidence of all runs."""
    POINT = "point"
    """The bare number, however few items it is made of."""


class Gate(Model):
    """A bound on one score.

    It passes where the score's lower confidence bound reaches ``min``, and fails where the upper one is below it; in
    between it is Inconclusive, because the items are too few to tell. ``max`` and the regressions are judged alike.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.min) || has(self.max) || has(self.baseline)",
            message="a gate needs at least one criterion: min, max, or baseline with maxRegression or "
            "maxRelativeRegression",
            holds=lambda gate: not (gate.min is None and gate.max is None and gate.baseline is None),
        ),
        Rule(
            cel="has(self.baseline) == (has(self.maxRegression) || has(self.maxRelativeRegression))",
            message="baseline and maxRegression (or maxRelativeRegression) need each other: the run to compare with, "
            "and how much may be lost",
            holds=lambda gate: (
                (gate.baseline is None) == (gate.max_regression is None and gate.max_relative_regression is None)
            ),
            field="maxRegression",
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not be above max: no score could pass",
            holds=lambda gate: gate.min is None or gate.max is None or gate.min <= gate.max,
            field="min",
        ),
        Rule(
            cel="!has(self.lowerIsBetter) || has(self.baseline)",
            message="lowerIsBetter needs a baseline: min and max say themselves which side is allowed",
            holds=lambda gate: gate.lower_is_better is None or gate.baseline is not None,
            field="lowerIsBetter",
        ),
        Rule(
            cel="!has(self.confidence) || !has(self.rule) || self.rule != 'point'",
            message="confidence needs rule: interval; with rule: point the bare score is judged",
            holds=lambda gate: gate.confidence is None or gate.rule is not GateRule.POINT,
            field="confidence",
        ),
    )

    task: TaskName
    """Name of the benchmark, or of a task or group within it."""
    metric: Annotated[str, Field(min_length=1, max_length=128)]
    """Metric by lm-eval's name, ``exact_match`` or ``acc``."""
    filter: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    """Filter by lm-eval's name, ``strict-match``; default: ``none`` (the unfiltered answers) if there is one, else the
    only filter that the metric has.
    """
    min: float | None = None
    """Minimum that the score must reach with the gate's confidence, inclusive; numbers closer to it than one part in
    10^9 count as equal.
    """
    max: float | None = None
    """Maximum that the score must keep to with the gate's confidence, inclusive like ``min``."""
    baseline: RunReference | None = None
    """An earlier run, whose score is compared with this run's, item by item."""
    max_regression: Annotated[float | None, Field(ge=0)] = None
    """Maximum loss against the baseline, in the metric's own unit, inclusive like ``min``. Even without a single
    changed item a loss of 0.01 can be excluded only from 299 items on, of 0.02 from 149; 0 lets only a better model
    pass.
    """
    max_relative_regression: Annotated[float | None, Field(ge=0, le=1)] = None
    """Maximum loss as a part of the baseline's score: 0.02 lets 2% of it be lost. With maxRegression both must hold.
    """
    lower_is_better: bool | None = None
    """Whether less is better, so that a rise is the loss; absent: what lm-eval says of the metric."""
    advisory: bool | None = None
    """True: the verdict is reported, but decides neither the run's verdict nor the exit code; absent: it decides."""
    confidence: Annotated[float | None, Field(ge=0.5, le=0.999)] = None
    """One-sided confidence of the bounds: of the runs that should not pass at most 1 - confidence do, and of those that
    should not fail at most 1 - confidence; absent: 0.95.
    """
    rule: GateRule | None = None
    """interval: bounds are judged with the gate's confidence. point: the bare score is judged, however uncertain.
    Absent: interval.
    """

    @property
    def resolved_confidence(self) -> float:
        """``confidence``, or its default."""
        return CONFIDENCE if self.confidence is None else self.confidence

    @property
    def resolved_rule(self) -> GateRule:
        """``rule``, or its default."""
        return self.rule or GateRule.INTERVAL
