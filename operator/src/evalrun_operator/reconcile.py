"""One idempotent step for one run: read everything, decide, write what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from evalrun_operator.apply import apply, apply_change, tell
from evalrun_operator.backend.protocol import Backend
from evalrun_operator.changes import Event
from evalrun_operator.client import Client
from evalrun_operator.errors import ChildRefused
from evalrun_operator.observe import Key, Observer
from evalrun_operator.plan import plan
from evalrun_operator.settings import OperatorSettings

RECONCILE_SECONDS = 120.0
"""For one step; every call within has its own, shorter, time."""


@dataclass(frozen=True)
class Reconciler:
    """Brings runs to what they should be."""

    client: Client
    backend: Backend
    observer: Observer
    settings: OperatorSettings
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> float | None:
        """Seconds after which the run wants to be looked at again; None: it is gone. Raises ``OperatorError``."""
        async with asyncio.timeout(RECONCILE_SECONDS):
            seen = await self.observer.observe(key)
            if seen is None:
                return None
            observed, objects = seen
            now = self.now()
            for repair in self.backend.repairs(objects, now):
                await apply_change(self.client, observed.run, repair)
            decided = plan(observed, self.settings, now)
            try:
                changes = (
                    self.backend.changes(observed.run, decided.wanted, objects, observed.references)
                    if decided.wanted is not None
                    else ()
                )
                await apply(self.client, observed.run, changes, decided, now)
            except ChildRefused as refusal:
                await tell(self.client, observed.run, Event("ChildRefused", str(refusal), warning=True), now)
                raise
            return decided.again_in
