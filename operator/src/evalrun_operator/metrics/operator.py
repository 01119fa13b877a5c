"""What the operator tells of itself: its looks at runs, its queue, its calls, and whether it sees what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client.core import Metric as Family

from evalrun_api.metrics.operator import (
    OPERATOR_INFO,
    QUEUE_DEPTH,
    QUEUE_STALLED,
    QUEUE_WAIT,
    RECONCILE_ERRORS,
    RECONCILE_SECONDS,
    RESYNC_AGE,
    WATCH_AGE,
)
from evalrun_operator.kube.workqueue import Work, WorkQueue
from evalrun_operator.metrics.calls import ApiCallMetrics
from evalrun_operator.metrics.families import Histogram, LabelledCounter, family_of
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.resync import Resync


@dataclass(frozen=True)
class ReconcileMetrics:
    """Looks at runs, timed."""

    waits: Histogram = field(default_factory=lambda: Histogram(QUEUE_WAIT))
    seconds: Histogram = field(default_factory=lambda: Histogram(RECONCILE_SECONDS))
    errors: LabelledCounter = field(default_factory=lambda: LabelledCounter(RECONCILE_ERRORS))

    def timed(self, work: Work[Key]) -> Work[Key]:
        """The same work; whoever is cancelled is not counted."""

        async def look(key: Key) -> float | None:
            clock = asyncio.get_running_loop().time
            began = clock()
            try:
                again = await work(key)
            except Exception as error:
                self.errors.add(type(error).__name__)
                self.seconds.observe(clock() - began, "failed")
                raise
            self.seconds.observe(clock() - began, "gone" if again is None else "ok")
            return again

        return look


@dataclass(frozen=True)
class OperatorMetrics:
    """The parts of which it is told."""

    queue: WorkQueue[Key]
    reconciles: ReconcileMetrics
    calls: ApiCallMetrics
    resync: Resync

    def families(self) -> Iterator[Family]:
        """As it is now."""
        yield family_of(OPERATOR_INFO, {(version("evalrun-operator"),): 1})
        yield self.reconciles.seconds.family()
        yield self.reconciles.errors.family()
        yield family_of(QUEUE_DEPTH, {(): len(self.queue)})
        yield self.reconciles.waits.family()
        yield family_of(QUEUE_STALLED, {(): self.queue.stalled()})
        yield from self.calls.families()
        yield family_of(WATCH_AGE, {(kind.kind,): self.resync.watch_age(kind) for kind in self.resync.kinds})
        yield family_of(RESYNC_AGE, {(): self.resync.age()})
