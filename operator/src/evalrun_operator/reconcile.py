"""One idempotent step for one run: read everything, decide, write what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from evalrun_api import EvalRunStatus
from evalrun_operator.apply import apply
from evalrun_operator.kube.client import Client
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.plan import plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Backend

RECONCILE_SECONDS = 120.0
"""Timeout of one step; every call within it has its own, shorter one."""
RECONCILES_PER_SECOND = 40.0
"""Reconciles of all runs together without an event; those for events come on top. Each costs some 5 ms of a processor.
"""


@dataclass(frozen=True)
class Reconciler:
    """Moves runs towards their desired state."""

    client: Client
    backend: Backend
    observer: Observer
    settings: OperatorSettings
    now: Callable[[], datetime]
    runs: ObservedRuns
    """Receives every run as it is before and after the step."""
    _unfinished: set[Key] = field(default_factory=set)

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one run.

        Returns:
            Seconds after which to reconcile the run again; None if it is deleted.

        Raises:
            OperatorError: The step failed and should be retried.
        """
        async with asyncio.timeout(RECONCILE_SECONDS):
            found = await self.observer.observe(key)
            if found is None:
                self._unfinished.discard(key)
                self.runs.forget(key)
                return None
            observed, objects = found
            now, invalid = self.now(), observed.invalid is not None
            self.runs.see(observed.run, observed.run.status, now, invalid=invalid)
            decided = plan(observed, self.settings, now)
            changes = self.backend.repairs(objects, now)
            if decided.desired is not None:
                changes += self.backend.changes(observed.run, decided.desired, objects, observed.references)
            pace = self._pace(key, decided.status)
            if changes or not pace:
                self.observer.forget(key)
            await apply(self.client, observed.run, changes, decided, now)
            self.runs.see(observed.run, decided.status, now, invalid=invalid)
            return max(decided.requeue_after, pace)

    def _pace(self, key: Key, status: EvalRunStatus) -> float:
        """Return the seconds that reconciling all unfinished runs takes; 0 for a finished run.

        Where there are very many runs, each one is reconciled less often.
        """
        if status.phase is not None and status.phase.finished:
            self._unfinished.discard(key)
            return 0.0
        self._unfinished.add(key)
        return len(self._unfinished) / RECONCILES_PER_SECOND
