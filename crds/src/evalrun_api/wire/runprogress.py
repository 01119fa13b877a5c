"""HTTP messages between a driver, its replicas' pods and the operator during a run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from evalrun_api.base import Reported
from evalrun_api.status.conditions import Phase
from evalrun_api.status.outcomes import Counts, Number, Work
from evalrun_api.wire.pods import HeadState


class RunProgress(Reported):
    """Answer of ``GET /progress`` of a driver: the present state of the run."""

    phase: Phase
    """Starting, Running or Finishing; at the end the phase of the run."""
    note: str = ""
    """Present activity, for people."""
    counts: Counts = Counts()
    """Items so far; ``planned`` grows until planning is done."""
    planning_done: bool = False
    """Whether ``counts.planned`` is final."""
    work: Work = Work()
    """Work that attempts and resumption saved and cost."""
    items_per_second: Annotated[float | None, Field(ge=0)] = None
    """Recent items per second."""
    output_tokens_per_second: Annotated[float | None, Field(ge=0)] = None
    """Recent generated tokens per second."""
    eta: datetime | None = None
    """Estimated time at which the last item is finished."""
    replicas_ready: Number = 0
    """Replicas that answer requests."""
    degraded: str | None = None
    """Why writes to the store are delayed; None if they are not."""

    @classmethod
    def from_json(cls, text: str | bytes) -> RunProgress:
        """Parse the output of ``to_json``. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)


class Head(Reported):
    """Answer of ``GET /head`` of a driver: what its replicas' pods should do."""

    instance: str
    """Id of the driver process: a replica's pod joins each new one."""
    state: HeadState
    """starting, open or done."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Head:
        """Parse the output of ``to_json``. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)
