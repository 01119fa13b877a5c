"""The whole operator in one process: watches, workers, resync and health, started together and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import kopf

from evalrun_operator.kube.client import Client
from evalrun_operator.kube.connection import configuration
from evalrun_operator.kube.objects import EVALRUNS
from evalrun_operator.kube.workqueue import Work, WorkQueue
from evalrun_operator.metrics import scrape
from evalrun_operator.metrics.calls import ApiCallMetrics
from evalrun_operator.metrics.exposition import Exposition
from evalrun_operator.metrics.operator import OperatorMetrics, ReconcileMetrics
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.observe.progress import ask_progress
from evalrun_operator.reconcile import Reconciler
from evalrun_operator.serving import serve
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Backend
from evalrun_operator.watch.deliveries import Deliveries
from evalrun_operator.watch.events import EventHandler
from evalrun_operator.watch.handlers import registry
from evalrun_operator.watch.health import Health
from evalrun_operator.watch.resync import Resync

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Seconds that running reconciles get to finish when the operator is asked to stop."""


async def run(settings: OperatorSettings, backend: Backend) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        NoCluster: There is no API server, or it knows no EvalRuns.
        Exception: A part ended by itself. The process should end too: only a new one is known to work.
    """
    found = await configuration()
    calls = ApiCallMetrics()
    async with Client(found, calls.add) as client, aiohttp.ClientSession() as session:
        reconciles, runs = ReconcileMetrics(), ObservedRuns(settings.metrics)
        queue: WorkQueue[Key] = WorkQueue(waited=reconciles.waits.observe)
        deliveries = Deliveries()
        kinds = (EVALRUNS, *backend.kinds)
        namespaces = settings.watch.namespaces
        observer = Observer(client, backend, partial(ask_progress, session), now)
        reconciler = Reconciler(client, backend, observer, settings, now, runs)

        def changed(key: Key) -> None:
            observer.forget(key)
            queue.add(key)

        resync = Resync(client, changed, deliveries, kinds, namespaces, settings.resync_seconds)
        handlers = registry(EventHandler(changed, deliveries), kinds, found)
        exposition = Exposition(runs, OperatorMetrics(queue, reconciles, calls, resync), now)
        health = Health(queue, resync)
        async with (
            serve(health.routes(), settings.health_port) as health_port,
            serve(scrape.routes(exposition), settings.metrics_port) as metrics_port,
        ):
            place = ", ".join(namespaces) or "all namespaces"
            logger.info("reconciling %s; health on port %d, metrics on %d", place, health_port, metrics_port)
            try:
                work = reconciles.timed(reconciler.reconcile)
                await _Parts(queue, resync, work, Watches(handlers, namespaces)).run(settings.workers)
            finally:
                made = calls.by_verb_and_kind()
                each = ", ".join(f"{verb} {kind} {times}" for (verb, kind), times in made.most_common())
                logger.info("stopped after %d calls to the API server: %s", made.total(), each)


@dataclass(frozen=True)
class Watches:
    """The watches of kopf, in this event loop."""

    handlers: kopf.OperatorRegistry
    namespaces: tuple[str, ...]
    started: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Watch until asked to stop. Raises whatever ends kopf."""
        await kopf.operator(
            registry=self.handlers,
            standalone=True,
            clusterwide=not self.namespaces,
            namespaces=self.namespaces,
            ready_flag=self.started,
            stop_flag=self.stop,
        )


@dataclass(frozen=True)
class _Parts:
    """The concurrent parts of the operator. The first one that ends, ends all."""

    queue: WorkQueue[Key]
    resync: Resync
    work: Work[Key]
    watches: Watches

    async def run(self, workers: int) -> None:
        stop = asyncio.Event()
        working = [_task(self.queue.run(self.work), f"worker-{n}") for n in range(workers)]
        resync = _task(self.resync.run(), "resync")
        # kopf cancels the tasks that were started after it, so it comes last.
        watching = _task(self.watches.run(), "watches")
        asked = _task(self._asked_to_stop(stop), "stop")
        every = [*working, resync, watching, asked]
        try:
            done, _ = await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
            logger.info("stopping: %s ended", ", ".join(sorted(task.get_name() for task in done)))
            self.queue.close()
            await asyncio.wait(working, timeout=STOP_SECONDS)
            self.watches.stop.set()
            await asyncio.wait([watching], timeout=STOP_SECONDS)
        finally:
            for task in every:
                task.cancel()
            ends = await asyncio.gather(*every, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _asked_to_stop(self, stop: asyncio.Event) -> None:
        """Wait for a signal. kopf installs its own handlers as it starts, so these are installed later."""
        await self.watches.started.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


def now() -> datetime:
    """Return the present time in whole seconds, as Kubernetes writes times."""
    return datetime.now(UTC).replace(microsecond=0)


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)
