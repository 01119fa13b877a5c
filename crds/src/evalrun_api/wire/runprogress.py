"""What a driver and its replicas' pods and the operator tell each other over HTTP while a run goes on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from evalrun_api.base import Reported
from evalrun_api.status.conditions import Phase
from evalrun_api.status.outcomes import Counts, Number, Work
from evalrun_api.wire.pods import HeadState


class RunProgress(Reported):
    """``GET /progress`` of a driver: the run at this moment."""

    phase: Phase
    """Starting, Running or Finishing; at the end the run's own."""
    note: str = ""
    """What it is busy with, for people."""
    counts: Counts = Counts()
    """Items so far; ``planned`` grows while planning goes on."""
    planning_done: bool = False
    """Whether ``counts.planned`` is final."""
    work: Work = Work()
    """What attempts and resumption saved and cost."""
    items_per_second: Annotated[float | None, Field(ge=0)] = None
    """Items per second, lately."""
    output_tokens_per_second: Annotated[float | None, Field(ge=0)] = None
    """Tokens generated per second, lately."""
    eta: datetime | None = None
    """When the last item will probably be done."""
    replicas_ready: Number = 0
    """Replicas that answer requests."""
    degraded: str | None = None
    """Why writes to the store wait, if they do."""

    @classmethod
    def from_json(cls, text: str | bytes) -> RunProgress:
        """Read what ``to_json`` wrote. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)


class Head(Reported):
    """``GET /head`` of a driver: what its replicas' pods are to do."""

    instance: str
    """Another one for each driver process: a replica's pod joins each anew."""
    state: HeadState
    """starting, open or done."""

    @classmethod
    def from_json(cls, text: str | bytes) -> Head:
        """Read what ``to_json`` wrote. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)
