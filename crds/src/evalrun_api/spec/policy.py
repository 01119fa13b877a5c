"""Policy: retries, deadlines, and the deletion of a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model
from evalrun_api.rules import Rule

MAX_DISRUPTIONS = 20
"""Default of ``maxDisruptions``: with the waits between attempts, more than an hour without a finished item."""
STOP_WIDTH = 0.02
"""Default of ``stopEarly.width``."""


class StopRule(StrEnum):
    """What a run that may stop early waits for."""

    GATES = "gates"
    """The verdict of every gate is decided."""
    WIDTH = "width"
    """The interval of every benchmark's first score is narrow enough."""


class StopEarly(Model):
    """When a run may end before every item is answered; its verdicts and intervals account for the looks."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.width) || self.rule == 'width'",
            message="width needs rule: width; with rule: gates the gates decide when a run stops",
            holds=lambda stop: stop.width is None or stop.rule is StopRule.WIDTH,
            field="width",
        ),
    )

    rule: StopRule
    """gates: stop when every gate is decided. width: stop when the intervals are narrow enough."""
    width: Annotated[float | None, Field(gt=0, le=1)] = None
    """Upper minus lower end of a 95% interval that is narrow enough, in the metric's own unit; absent: 0.02."""
    looks: Annotated[int, Field(ge=2, le=20)] = 5
    """Number of times that the scores are looked at, at equal shares of the items, the last one at the end."""

    @property
    def resolved_width(self) -> float:
        """``width``, or its default."""
        return STOP_WIDTH if self.width is None else self.width


class Policy(Model):
    """Attempts, tolerated failures, deadlines.

    All but ``maxAttempts``, ``maxFailedItems`` and ``stopEarly`` may be changed while the run exists.
    """

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Maximum number of attempts of the driver; disruptions, suspensions and node losses do not count."""
    max_disruptions: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Maximum number of disruptions of the driver in a row (its pod evicted or deleted, its node lost, its Job
    deleted); with more the run fails. A finished item or a suspension begins the count again. Absent: 20.
    """
    max_failed_items: Annotated[int, Field(ge=0, le=INT32_MAX)] = 0
    """Maximum number of failed and quarantined items; with more the run fails, and all other results are kept.
    """
    active_deadline_seconds: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Seconds of running after which the run fails; absent: no deadline."""
    start_deadline_seconds: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Seconds that an attempt may take until it answers items, without waiting in a queue; after that the run fails.
    Absent: no limit.
    """
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Seconds after its end when the EvalRun is deleted, while its results stay; absent: what the administrator set, or
    never.
    """
    suspend: bool = False
    """True: free the GPUs and keep what is committed. False: resume from there."""
    stop_early: StopEarly | None = None
    """Whether the run may end before every item is answered; absent: it answers all."""

    @property
    def resolved_max_disruptions(self) -> int:
        """``maxDisruptions``, or its default."""
        return MAX_DISRUPTIONS if self.max_disruptions is None else self.max_disruptions
