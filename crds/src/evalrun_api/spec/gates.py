"""Gate: what a score must reach for the run to pass."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import Model, ObjectName, RunUri, TaskName
from evalrun_api.rules import Rule, exactly_one


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


class Gate(Model):
    """A bound on one score."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.min) || has(self.max) || has(self.baseline)",
            message="a gate needs at least one criterion: min, max, or baseline with maxRegression",
            holds=lambda gate: not (gate.min is None and gate.max is None and gate.baseline is None),
        ),
        Rule(
            cel="has(self.baseline) == has(self.maxRegression)",
            message="baseline and maxRegression need each other: the run to compare with, and how much may be lost",
            holds=lambda gate: (gate.baseline is None) == (gate.max_regression is None),
            field="maxRegression",
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not be above max: no score could pass",
            holds=lambda gate: gate.min is None or gate.max is None or gate.min <= gate.max,
            field="min",
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
    """Minimum of the score, inclusive; scores closer to it than one part in 10^9 count as equal."""
    max: float | None = None
    """Maximum of the score, inclusive; scores closer to it than one part in 10^9 count as equal."""
    baseline: RunReference | None = None
    """An earlier run, whose score is compared with this run's."""
    max_regression: Annotated[float | None, Field(ge=0)] = None
    """Maximum loss against the baseline, in the metric's own unit, inclusive like ``min``."""
