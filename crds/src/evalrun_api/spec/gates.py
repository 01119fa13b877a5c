"""Gate: what a score must reach for the run to count as good."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import Model, ObjectName, RunUri, TaskName
from evalrun_api.rules import Rule, exactly_one


class RunReference(Model):
    """An earlier run: by its name in the same namespace, or by where its results lie."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("run_name", "uri", of="reference to a run"),
        Rule(
            cel="!has(self.uri) || self.uri.startsWith('s3://')",
            message="in a cluster results lie on S3 (s3://bucket/path/); other paths are for local runs",
            holds=lambda run: run.uri is None or run.uri.startswith("s3://"),
            field="uri",
            cluster_only=True,
        ),
    )

    run_name: ObjectName | None = None
    """Name of an EvalRun in the same namespace."""
    uri: RunUri | None = None
    """The folder of a run's results."""


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
            message="baseline and maxRegression go together: the one says against what, the other how much may be lost",
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
    """The benchmark's name, or a task or group within it."""
    metric: Annotated[str, Field(min_length=1, max_length=128)]
    """The metric by lm-eval's name, ``exact_match`` or ``acc``."""
    filter: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    """The filter by lm-eval's name, ``strict-match``; default: ``none``, the task's answers as they are."""
    min: float | None = None
    """The least the score may be."""
    max: float | None = None
    """The most the score may be."""
    baseline: RunReference | None = None
    """An earlier run to compare with, item by item."""
    max_regression: Annotated[float | None, Field(ge=0)] = None
    """How much worse than the baseline the score may be, in the metric's own unit."""

    @property
    def resolved_filter(self) -> str:
        """``filter``, or lm-eval's name for no filter."""
        return self.filter or "none"
