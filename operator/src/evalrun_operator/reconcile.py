"""One idempotent step for one run: read everything, decide, write what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from evalrun_api import EvalRun, EvalRunStatus, Phase
from evalrun_operator.apply import apply
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.objects import Change, Create, Kind, Manifest
from evalrun_operator.kube.pace import Pace
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Backend

RECONCILE_SECONDS = 120.0
"""Timeout of one step; every call within it has its own, shorter one."""
LOOKS_PER_SECOND = 40.0
"""Reconciles without an event of all runs with a live driver together, and of all other unfinished ones together: those
that are suspended or wait. Each costs some 5 ms of a processor.
"""
PROGRESS_TIME = timedelta(seconds=5)
"""Time between two writes of a status in which only progress differs: each write is news for everybody who watches."""
_WITH_DRIVER = {Phase.STARTING, Phase.RUNNING, Phase.FINISHING}


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
    is_unreadable: Callable[[str], bool] = lambda _: False
    """Whether the runs of a namespace cannot be read now. They are forgotten until they can be."""
    _written: dict[Key, datetime] = field(default_factory=dict)
    """Last writes of a status."""
    _working: Pace[Key] = field(default_factory=lambda: Pace(LOOKS_PER_SECOND))
    _idle: Pace[Key] = field(default_factory=lambda: Pace(LOOKS_PER_SECOND))

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one run.

        Returns:
            Seconds after which to reconcile the run again; None if it is deleted, or cannot be read.

        Raises:
            OperatorError: The step failed and should be retried.
        """
        async with asyncio.timeout(RECONCILE_SECONDS):
            found = None if self.is_unreadable(key.namespace) else await self.observer.observe(key)
            if found is None:
                self.observer.forget(key)
                self._pace(key, None, 0.0)
                self._written.pop(key, None)
                self.runs.forget(key)
                return None
            observed, objects = found
            now, invalid = self.now(), observed.invalid is not None
            self.runs.see(observed.run, observed.run.status, now, invalid=invalid)
            decided = plan(observed, self.settings, now)
            changes = self.backend.repairs(objects, now)
            if decided.desired is not None:
                changes += self.backend.changes(observed.run, decided.desired, objects, observed.references)
            if decided.status.finished:
                self._written.pop(key, None)
                self.observer.settle(key)
            elif decided.status != (before := observed.run.status):
                if before is not None and self._is_early(key, before, decided.status, now):
                    decided = replace(decided, status=before)
                else:
                    self._written[key] = now
            await self._write(key, observed.run, changes, decided, now)
            self.runs.see(observed.run, decided.status, now, invalid=invalid)
            return self._pace(key, decided.status, decided.requeue_after)

    def _is_early(self, key: Key, before: EvalRunStatus, after: EvalRunStatus, now: datetime) -> bool:
        """Check that only progress differs, and was written just now."""
        written = self._written.get(key)
        if written is None or now - written >= PROGRESS_TIME:
            return False
        numbers = {"progress": before.progress, "work": before.work, "display": before.display}
        return after.model_copy(update=numbers) == before

    async def _write(
        self, key: Key, run: EvalRun, changes: tuple[Change, ...], decided: ReconcilePlan, now: datetime
    ) -> None:
        """Write what differs. What was created is known then; after any other write the children are read again."""
        expected = sum(isinstance(change, Create) and change.kind in self.backend.kinds for change in changes)
        told: list[Kind] = []

        def tell(kind: Kind, manifest: Manifest) -> None:
            if kind in self.backend.kinds:
                self.observer.learn(key, kind, manifest)
                told.append(kind)

        if not all(isinstance(change, Create) for change in changes):
            self.observer.forget(key)
        try:
            await apply(self.client, run, changes, decided, now, tell)
        except BaseException:
            self._written.pop(key, None)
            self.observer.forget(key)
            raise
        if len(told) < expected:
            # One existed already, and is not known.
            self.observer.forget(key)

    def _pace(self, key: Key, status: EvalRunStatus | None, wanted: float) -> float:
        """Return the seconds until the next look; where there are very many runs, each one waits longer.

        Runs with a live driver do not wait for those without one, nor those of one namespace for those of another.
        """
        working = status is not None and status.phase in _WITH_DRIVER
        idle = status is not None and not working and not status.finished
        for pace, member in ((self._working, working), (self._idle, idle)):
            if not member:
                pace.leave(key.namespace, key)
                continue
            pace.join(key.namespace, key)
            wanted = max(wanted, pace.interval(key.namespace, self.settings.progress_seconds))
        return wanted
