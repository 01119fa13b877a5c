"""Policy: retries, deadlines, and the deletion of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model

MAX_DISRUPTIONS = 20
"""Default of ``maxDisruptions``: with the waits between attempts, more than an hour without a finished item."""


class Policy(Model):
    """Attempts, tolerated failures, deadlines.

    All but ``maxAttempts`` and ``maxFailedItems`` may be changed while the run exists.
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

    @property
    def resolved_max_disruptions(self) -> int:
        """``maxDisruptions``, or its default."""
        return MAX_DISRUPTIONS if self.max_disruptions is None else self.max_disruptions
