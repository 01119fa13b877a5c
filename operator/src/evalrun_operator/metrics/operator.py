"""Metrics of the operator itself: its reconciles, its queue, its calls, and whether its watches work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client.core import Metric as Family

from evalrun_api.metrics.operator import (
    LEADER,
    NAMESPACES_REFUSED,
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
    """Durations, waits and errors of reconciles."""

    waits: Histogram = field(default_factory=lambda: Histogram(QUEUE_WAIT))
    seconds: Histogram = field(default_factory=lambda: Histogram(RECONCILE_SECONDS))
    errors: LabelledCounter = field(default_factory=lambda: LabelledCounter(RECONCILE_ERRORS))

    def timed(self, work: Work[Key]) -> Work[Key]:
        """Wrap work so that it is measured; cancelled work is not counted."""

        async def measured(key: Key) -> float | None:
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

        return measured


@dataclass(frozen=True)
class OperatorMetrics:
    """The parts of the operator that are measured."""

    queue: WorkQueue[Key]
    reconciles: ReconcileMetrics
    calls: ApiCallMetrics
    resync: Resync
    leads: Callable[[], bool] = lambda: True
    """Whether this operator leads; one that stands by watches nothing."""

    def families(self) -> Iterator[Family]:
        """Yield the present values."""
        yield family_of(OPERATOR_INFO, {(version("evalrun-operator"),): 1})
        yield self.reconciles.seconds.family()
        yield self.reconciles.errors.family()
        yield family_of(QUEUE_DEPTH, {(): len(self.queue)})
        yield self.reconciles.waits.family()
        yield family_of(QUEUE_STALLED, {(): self.queue.stalled()})
        yield from self.calls.families()
        yield family_of(LEADER, {(): int(self.leads())})
        if not self.leads():
            return
        yield family_of(WATCH_AGE, {(kind.kind,): self.resync.watch_age(kind) for kind in self.resync.kinds})
        yield family_of(RESYNC_AGE, {(): self.resync.age()})
        yield family_of(NAMESPACES_REFUSED, {(): len(self.resync.refused.problems())})
