"""EvalRunStatus: what is, written by the operator alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from evalrun_api.base import Reported
from evalrun_api.status.conditions import Condition, Phase
from evalrun_api.status.outcomes import Counts, GateResult, Number, Score, Work

MAX_SCORES = 50
"""Scores in a status: the headline ones; all of them are in results.json."""


class Progress(Counts):
    """How far the run is and how fast."""

    percent: Annotated[int | None, Field(ge=0, le=100)] = None
    """Items that have an end, of those planned."""
    items_per_second: Annotated[float | None, Field(ge=0)] = None
    """Items per second, lately."""
    output_tokens_per_second: Annotated[float | None, Field(ge=0)] = None
    """Tokens generated per second, by all replicas, lately."""
    eta: datetime | None = None
    """When the last item will probably be done."""


class ReplicaStatus(Reported):
    """How many replicas there are."""

    desired: Number = 0
    """Replicas asked for."""
    ready: Number = 0
    """Replicas that answer requests."""


class DisplayColumns(Reported):
    """Strings for the columns of ``kubectl get``."""

    model: Annotated[str | None, Field(max_length=128)] = None
    """The model's name."""
    progress: Annotated[str | None, Field(max_length=64)] = None
    """``1,204/1,319``."""
    score: Annotated[str | None, Field(max_length=64)] = None
    """The first gate's score, or the first benchmark's headline."""
    gate: Annotated[str | None, Field(max_length=64)] = None
    """The verdict of all gates."""
    replicas: Annotated[str | None, Field(max_length=64)] = None
    """``8/8``."""
    eta: Annotated[str | None, Field(max_length=64)] = None
    """Time left, ``12m``."""


class EvalRunStatus(Reported):
    """What is."""

    phase: Phase | None = None
    """A summary for people."""
    observed_generation: Number | None = None
    """The generation of the spec that this status is about."""
    attempt: Number | None = None
    """The present or last attempt, counted from 1."""
    runner_image: Annotated[str | None, Field(max_length=1024)] = None
    """The image of all attempts: an upgraded installation changes it for new runs only."""
    started_at: datetime | None = None
    """When the first attempt started."""
    finished_at: datetime | None = None
    """When the run reached its end."""
    active_seconds: Number | None = None
    """Seconds the run was running before ``activeSince``, without suspensions; for policy.activeDeadlineSeconds."""
    active_since: datetime | None = None
    """Since when the run has been running without a suspension; absent: it is not."""
    charged_attempts: Number | None = None
    """Attempts that count against policy.maxAttempts."""
    progress: Progress | None = None
    """How far the run is and how fast."""
    work: Work | None = None
    """What attempts and resumption saved and cost."""
    replicas: ReplicaStatus | None = None
    """How many replicas there are."""
    scores: Annotated[tuple[Score, ...], Field(max_length=MAX_SCORES)] = ()
    """The headline scores."""
    gates: Annotated[tuple[GateResult, ...], Field(max_length=100)] = ()
    """The gates and their verdicts; those that did not pass first, if not all fit."""
    results_uri: Annotated[str | None, Field(max_length=2048)] = None
    """The folder of the run's results."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    """What is true and what is not, with the reason."""
    display: DisplayColumns | None = None
    """Strings for the columns of ``kubectl get``."""
