"""Decide what a run's children and status should be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from evalrun_api import EvalRunStatus
from evalrun_operator.changes import Event
from evalrun_operator.observed import Observed
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.wanted import Wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be: children, status, events, and when to look again."""

    wanted: Wanted | None
    """None: children are left as they are."""
    status: EvalRunStatus
    events: tuple[Event, ...] = ()
    delete_run: bool = False
    """Its time to live is over."""
    again_in: float = 60.0
    """Seconds until the run is looked at again without an event, at the latest."""


def plan(observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
    """Decide."""
    raise NotImplementedError
