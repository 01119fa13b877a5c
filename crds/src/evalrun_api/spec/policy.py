"""Policy: how long and how hard a run tries, and what becomes of it afterwards."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evalrun_api.base import INT32_MAX, Model


class Policy(Model):
    """Attempts, tolerated failures, deadlines. ``suspend`` and the two times may be changed while the run exists."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Attempts of the driver; disruptions, suspensions and node losses are not counted."""
    max_failed_items: Annotated[int, Field(ge=0, le=INT32_MAX)] = 0
    """Failed and quarantined items allowed; with more the run fails, all other results are kept."""
    active_deadline_seconds: Annotated[int | None, Field(ge=1, le=INT32_MAX)] = None
    """Seconds of running after which the run fails; absent: no deadline."""
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Seconds after its end that the EvalRun is deleted, its results stay; absent: never."""
    suspend: bool = False
    """True frees the GPUs and keeps what is committed; false goes on from there."""
