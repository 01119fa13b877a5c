"""Policy: retries, deadlines, and the deletion of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model


class Policy(Model):
    """Attempts, tolerated failures, deadlines. ``suspend`` and the two times may be changed while the run exists."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Maximum number of attempts of the driver; disruptions, suspensions and node losses do not count."""
    max_failed_items: Annotated[int, Field(ge=0, le=INT32_MAX)] = 0
    """Maximum number of failed and quarantined items; with more the run fails, and all other results are kept.
    """
    active_deadline_seconds: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Seconds of running after which the run fails; absent: no deadline."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Seconds after its end when the EvalRun is deleted, while its results stay; absent: never.
    """
    suspend: bool = False
    """True: free the GPUs and keep what is committed. False: resume from there."""
