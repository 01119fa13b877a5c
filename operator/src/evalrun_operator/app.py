"""The whole operator in one process: watches, workers, resync and health, started together and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import kopf
from kubernetes.aio.client import Configuration

from evalrun_operator.election import Election
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.connection import configuration, login
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
from evalrun_operator.watch.events import EventHandler, Owners
from evalrun_operator.watch.handlers import NoMemories, registry
from evalrun_operator.watch.health import Health
from evalrun_operator.watch.namespaces import RefusedNamespaces
from evalrun_operator.watch.resync import Resync

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Seconds that running reconciles get to finish when the operator is asked to stop."""


async def run(settings: OperatorSettings, backend: Backend) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        NoCluster: There is no API server, or it knows no EvalRuns.
        LeaseLost: Another operator may lead soon. The process should end.
        Exception: A part ended by itself. The process should end too: only a new one is known to work.
    """
    found = await configuration()
    calls = ApiCallMetrics()
    # Renewals have connections of their own: they never wait behind the work of a busy operator.
    async with Client(found, calls.add) as for_lease:
        election = None if settings.election is None else Election(for_lease, settings.election, identity())
        try:
            await _run(settings, backend, found, calls, election)
        finally:
            # Everything has ended: nothing is written any more.
            if election is not None:
                await election.release()


async def _run(
    settings: OperatorSettings,
    backend: Backend,
    found: Configuration,
    calls: ApiCallMetrics,
    election: Election | None,
) -> None:
    may_write = election.seconds_left if election is not None else lambda: math.inf
    async with Client(found, calls.add, may_write=may_write) as client, aiohttp.ClientSession() as session:
        reconciles, runs = ReconcileMetrics(), ObservedRuns(settings.metrics)
        queue: WorkQueue[Key] = WorkQueue(waited=reconciles.waits.observe, group_of=lambda key: key.namespace)
        deliveries, owners, refused = Deliveries(), Owners(), RefusedNamespaces()
        kinds = (EVALRUNS, *backend.kinds)
        namespaces = settings.watch.namespaces
        observer = Observer(client, backend, partial(ask_progress, session), now)
        reconciler = Reconciler(client, backend, observer, settings, now, runs, refused.has_unreadable_runs)

        def changed(key: Key) -> None:
            observer.forget(key)
            queue.add(key)

        resync = Resync(client, changed, deliveries, kinds, namespaces, settings.resync_seconds, owners, refused)
        handler = EventHandler(
            queue.add, deliveries, observer.learn, owners, missed=changed, namespaced=bool(namespaces)
        )
        handlers = registry(handler, kinds, partial(login, found, refused.watched))
        health = Health(queue, resync, election)
        metrics = OperatorMetrics(queue, reconciles, calls, resync, lambda: not health.standing_by)
        exposition = Exposition(runs, metrics, now)
        async with (
            serve(health.routes(), settings.health_port) as health_port,
            serve(scrape.routes(exposition), settings.metrics_port) as metrics_port,
        ):
            logger.info("health on port %d, metrics on %d", health_port, metrics_port)
            stop = asyncio.Event()
            try:
                if not await _elected(election, stop):
                    return
                logger.info("reconciling %s", ", ".join(namespaces) or "all namespaces")
                work = reconciles.timed(reconciler.reconcile)
                watches = Watches(handlers, namespaces)
                await _Parts(queue, resync, work, watches, election, stop).run(settings.workers)
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
            memories=NoMemories(),
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
    election: Election | None
    stop: asyncio.Event
    """Set when a signal asks the operator to stop."""

    async def run(self, workers: int) -> None:
        working = [_task(self.queue.run(self.work), f"worker-{n}") for n in range(workers)]
        resync = _task(self.resync.run(), "resync")
        # kopf cancels the tasks that were started after it, so it comes last.
        watching = _task(self.watches.run(), "watches")
        asked = _task(self._asked_to_stop(), "stop")
        every = [*working, resync, watching, asked]
        if self.election is not None:
            every.append(_task(self.election.keep(), "election"))
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

    async def _asked_to_stop(self) -> None:
        """Wait for a signal. kopf installs its own handlers as it starts, so these are installed again."""
        await self.watches.started.wait()
        _on_signal(self.stop)
        await self.stop.wait()


async def _elected(election: Election | None, stop: asyncio.Event) -> bool:
    """Stand by until this operator leads; return False if it is asked to stop before."""
    if election is None:
        return True
    _on_signal(stop)
    logger.info("standing by as %s", election.identity)
    winning, asked = _task(election.win(), "election"), _task(_wait(stop), "stop")
    try:
        await asyncio.wait([winning, asked], return_when=asyncio.FIRST_COMPLETED)
    finally:
        won = winning.done()
        for task in (winning, asked):
            task.cancel()
        await asyncio.gather(winning, asked, return_exceptions=True)
    if won:
        winning.result()
    return won and not stop.is_set()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _on_signal(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def identity() -> str:
    """Return a name of this process that no other one has or had; it begins with the name of its pod."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


def now() -> datetime:
    """Return the present time in whole seconds, as Kubernetes writes times."""
    return datetime.now(UTC).replace(microsecond=0)


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)
