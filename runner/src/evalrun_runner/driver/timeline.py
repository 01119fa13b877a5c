"""How a run went over time, in ``timeline.json``: items done and ready replicas, for the report.

Nothing but the report depends on it. A driver that is killed takes its part of it along.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from evalrun_api.wire.outputs import TimelinePoint, TimelineRecord
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.errors import ObjectMissing, StoreError
from evalrun_runner.ledger import layout
from evalrun_runner.store.base import ObjectStore

MOST_POINTS = 600
"""Points that are kept: beyond it every second one is dropped, and they are taken half as often."""
FIRST_SECONDS = 0.5
"""Time between two points at first."""


class Timeline:
    """``Watcher`` that takes down how far the run is, and passes everything on."""

    def __init__(self, watcher: Watcher, created: str | None, clock: Callable[[], float] = time.time) -> None:
        """Prepare to take down.

        Args:
            watcher: Sees everything.
            created: Moment at which the run's plan was claimed, ISO 8601; None: now.
            clock: Seconds since 1970.
        """
        self._watcher = watcher
        self._clock = clock
        self._origin = clock() if created is None else _seconds(created)
        self._every = FIRST_SECONDS
        self._points: list[TimelinePoint] = []

    def log(self, line: str) -> None:
        """Pass a line on."""
        self._watcher.log(line)

    def show(self, view: View) -> None:
        """Take the view down if it is time, and pass it on."""
        self._watcher.show(view)
        if view.progress is None:
            return
        at = max(0.0, self._clock() - self._origin)
        point = TimelinePoint(seconds=round(at, 3), items=view.progress.counts.total, replicas=view.replicas_ready)
        last = self._points[-1] if self._points else None
        due = last is None or at - last.seconds >= self._every
        # The moment at which the last item is done is kept whenever it comes.
        done = last is not None and point.items > last.items and point.items >= view.progress.planned
        if due or done:
            self._points.append(point)
        if len(self._points) > MOST_POINTS:
            self._points = [*self._points[:-1:2], self._points[-1]]
            self._every *= 2

    def write(self, store: ObjectStore) -> None:
        """Add what was taken down to what earlier drivers wrote; that this fails is no loss to the scores."""
        try:
            before = read_timeline(store)
            points = [*before, *self._points]
            store.put(layout.TIMELINE, TimelineRecord(points=points[-2 * MOST_POINTS :]).write())
        except StoreError as error:
            self.log(f"warning: the report will not show how the run went over time: {error}")


def read_timeline(store: ObjectStore) -> list[TimelinePoint]:
    """Read what drivers took down; nothing where none did, or it cannot be read."""
    try:
        return TimelineRecord.read(store.get(layout.TIMELINE)).points
    except (ObjectMissing, ValueError):
        return []


def _seconds(moment: str) -> float:
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
