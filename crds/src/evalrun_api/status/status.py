"""EvalRunStatus: the present state, written by the operator alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from evalrun_api.base import Reported
from evalrun_api.status.conditions import Condition, ConditionType, Phase
from evalrun_api.status.outcomes import Counts, GateResult, Number, Score, Work

MAX_URI = 2048
"""Characters of the address of results."""
MAX_SCORES = 50
"""Scores in a status: the headline ones; all of them are in results.json."""

MAX_RESOLVED_RUNS = 100
"""Earlier runs in a status; those above it are looked up again by each attempt."""


class Progress(Counts):
    """Progress and speed of the run."""

    percent: Annotated[int | None, Field(ge=0, le=100)] = None
    """Percentage of the planned items that are finished."""
    items_per_second: Annotated[float | None, Field(ge=0)] = None
    """Recent items per second."""
    output_tokens_per_second: Annotated[float | None, Field(ge=0)] = None
    """Recent generated tokens per second, of all replicas."""
    eta: datetime | None = None
    """Estimated time at which the last item is finished."""


class ReplicaStatus(Reported):
    """Number of replicas."""

    desired: Number = 0
    """Desired replicas."""
    ready: Number = 0
    """Replicas that answer requests."""


class ResolvedRun(Reported):
    """An earlier run that the spec names."""

    name: Annotated[str, Field(max_length=253)]
    """Its name."""
    uri: Annotated[str, Field(max_length=MAX_URI)]
    """Folder of its results when the first attempt began."""


class Disruptions(Reported):
    """Ends of the driver that are not charged, in a row: without a finished item in between."""

    count: Number = 0
    """How many; counted against policy.maxDisruptions."""
    last_at: datetime
    """Time of the last one; the wait before the next attempt counts from it."""
    done: Number = 0
    """Items that were finished by then: the next one after them begins the count again."""


class DisplayColumns(Reported):
    """Strings for the columns of ``kubectl get``."""

    model: Annotated[str | None, Field(max_length=128)] = None
    """Name of the model."""
    progress: Annotated[str | None, Field(max_length=64)] = None
    """Finished of planned items, ``1,204/1,319``."""
    score: Annotated[str | None, Field(max_length=64)] = None
    """Score of the first gate, or headline score of the first benchmark."""
    gate: Annotated[str | None, Field(max_length=64)] = None
    """Verdict of all gates."""
    replicas: Annotated[str | None, Field(max_length=64)] = None
    """Ready of desired replicas, ``8/8``."""
    eta: Annotated[str | None, Field(max_length=64)] = None
    """Remaining time, ``12m``."""
    reason: Annotated[str | None, Field(max_length=128)] = None
    """Why the run is not further, or how it failed: reason and the beginning of the message of Complete."""


class EvalRunStatus(Reported):
    """The present state of the run."""

    phase: Phase | None = None
    """A summary for people."""
    observed_generation: Annotated[int | None, Field(ge=-1)] = None
    """Generation of the spec that this status is about; -1: the operator has not seen the run yet."""
    attempt: Number | None = None
    """Present or last attempt, counted from 1."""
    runner_image: Annotated[str | None, Field(max_length=1024)] = None
    """Image of all attempts: an upgraded installation changes it only for new runs. By digest as soon as the first
    driver's node reports that of the repository.
    """
    runner_image_id: Annotated[str | None, Field(max_length=1024, alias="runnerImageID")] = None
    """Image of the first driver as its node reports it: by the digest of a repository where it was pulled from one,
    else by the digest of its configuration.
    """
    started_at: datetime | None = None
    """Start time of the first attempt."""
    finished_at: datetime | None = None
    """End time of the run."""
    active_seconds: Number | None = None
    """Seconds of running before ``activeSince``, without suspensions; for policy.activeDeadlineSeconds.
    """
    active_since: datetime | None = None
    """Time since when the run has been running without a suspension; absent: it is not running."""
    charged_attempts: Number | None = None
    """Attempts that count against policy.maxAttempts."""
    disruptions: Disruptions | None = None
    """Disruptions that count against policy.maxDisruptions; absent: none since an item was finished."""
    driver_pod: Annotated[str | None, Field(max_length=253)] = None
    """Uid of the driver's pod in this attempt: another one means that it was disrupted."""
    starting_since: datetime | None = None
    """Time since when the attempt has been starting without waiting in a queue, for policy.startDeadlineSeconds;
    absent: it answers items, or waits.
    """
    cleaned_up: bool | None = None
    """True: what only pods of the finished run read is deleted (Secret, ConfigMaps, Services, NetworkPolicy)."""
    progress: Progress | None = None
    """Progress and speed of the run."""
    work: Work | None = None
    """Work that attempts and resumption saved and cost."""
    replicas: ReplicaStatus | None = None
    """Number of replicas."""
    scores: Annotated[tuple[Score, ...], Field(max_length=MAX_SCORES)] = ()
    """Headline scores."""
    gates: Annotated[tuple[GateResult, ...], Field(max_length=100)] = ()
    """Gates and their verdicts; those that did not pass first, if not all fit."""
    results_uri: Annotated[str | None, Field(max_length=MAX_URI)] = None
    """Folder of the run's results."""
    resolved_runs: Annotated[
        tuple[ResolvedRun, ...],
        Field(
            max_length=MAX_RESOLVED_RUNS,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    """Earlier runs that the spec names, as the first attempt found them: later attempts use the same, even if they are
    deleted by then.
    """
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    """Conditions with their reasons."""
    display: DisplayColumns | None = None
    """Strings for the columns of ``kubectl get``."""

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.phase is not None and self.phase.finished

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return a condition, if it is recorded."""
        return next((one for one in self.conditions if one.type == kind), None)
