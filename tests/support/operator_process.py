"""An operator in the simulation: the classes that ``app`` wires, in virtual time, with a connection that fails.

Not played: kopf (its watches are deliveries that are late or lost, those of several objects in any order), HTTP, the
kubelet's probes (a silent watch ends the process, as a failed probe would).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from evalrun_api import RunProgress
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.election import Election, LeaseLost
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import OperatorError
from evalrun_operator.kube.objects import EVALRUNS, LEASES, Kind
from evalrun_operator.kube.workqueue import Delays, WorkQueue
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import Reconciler
from evalrun_operator.settings import ElectionSettings, OperatorSettings
from evalrun_operator.watch.deliveries import Deliveries
from evalrun_operator.watch.events import EventHandler, Owners
from evalrun_operator.watch.resync import Resync
from support.model_api import Answer, Body, ModelApiServer, Object, Ref, Refused
from support.model_cluster import Time


@dataclass
class Faults:
    """What happens to the requests of operators, until it is over. Shares of all requests."""

    share: float = 0.0
    kinds: tuple[str, ...] = ()
    crash: float = 0.0
    """Share of the requests at which the operator dies, before or after they take effect."""
    lost_events: float = 0.0
    slow_events: float = 2.0
    """Seconds that a delivery takes, at most."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """What is answered to ``<verb> <plural>``, always: a status."""
    over_at: float = 0.0
    """Seconds of virtual time at which all of this ends."""


ELECTION = ElectionSettings(namespace="system", lease_seconds=30, renew_seconds=20, retry_seconds=10)
"""Slower than by default, for fewer requests; those that are slow, or late, still outlive a Lease."""
FAULTS = ("lost", "unheard", "slow", "401", "403", "409", "422", "429", "500")
_REASONS = {
    401: "Unauthorized", 403: "Forbidden", 409: "Conflict", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError"
}  # fmt: skip


@dataclass(frozen=True)
class Classes:
    """The project's classes that an operator is made of; mutants take their places."""

    observer: Callable[..., Observer] = Observer
    backend: Callable[..., JobsBackend] = JobsBackend
    reconciler: Callable[..., Reconciler] = Reconciler
    client: type[ModelClient] | None = None


class _Nobody(ObservedRuns):
    """Metrics that nobody reads: they have tests of their own, and cost a tenth of the time."""

    def see(self, *_: object, **__: object) -> None:
        return


class _NoSession:
    """In the place of the client's HTTP session."""

    def __init__(self, _: object) -> None:
        self.user_agent = ""


class ModelClient(Client):
    """The project's client over a connection to the model API server."""

    def __init__(self, connection: Connection, may_write: Callable[[], float] = lambda: math.inf) -> None:
        with patch("evalrun_operator.kube.client.ApiClient", _NoSession):
            super().__init__(None, may_write=may_write)
        self._connection = connection

    async def _send(self, request: Any, seconds: float) -> Answer:
        return await self._connection.request(request, seconds)

    def _parse(self, data: bytes) -> Any:
        assert isinstance(data, Body)
        return data.value


@dataclass
class Connection:
    """The connection of one operator process: it loses, delays and refuses, and the process may die at any request."""

    server: ModelApiServer
    time: Time
    rng: random.Random
    faults: Faults
    die: Callable[[], None]
    alive: Callable[[], bool]
    on_write: Callable[[], None]
    """Called just before a write takes effect, except one of the Lease."""
    requests: int = 0

    async def request(self, request: Any, seconds: float) -> Answer:
        """Carry out a request of the client, or not, within these seconds."""
        self.requests += 1
        fault = self._fault(f"{request.verb} {request.path.split('/')[-1 if request.verb == 'create' else -2]}")
        # Where nothing is disturbed any more, what happens at once need not be played in every order.
        delay = 0 if self.time.now() >= self.faults.over_at else self.rng.uniform(0.001, 0.03)
        if fault == "slow":
            delay += self.rng.uniform(1, 25)
        await asyncio.sleep(min(delay, seconds))
        if delay > seconds:
            raise TimeoutError
        if fault == "crash":
            await self._crash()
        if fault == "lost":
            raise TimeoutError
        if fault.isdigit():
            return self._refuse(int(fault))
        if not self.alive():
            await asyncio.get_running_loop().create_future()
        if request.verb not in {"get", "list"} and request.kind is not LEASES:
            self.on_write()
        answer = self.server.call(
            request.verb, request.path, request.query, request.body, "PartialObjectMetadata" in request.accept
        )
        if fault == "crash after":
            await self._crash()
        if fault == "unheard":
            raise TimeoutError
        return answer

    async def _crash(self) -> None:
        self.die()
        await asyncio.get_running_loop().create_future()

    def _fault(self, what: str) -> str:
        if self.time.now() >= self.faults.over_at:
            return ""
        if what in self.faults.refused:
            return str(self.faults.refused[what])
        if self.rng.random() < self.faults.crash:
            return self.rng.choice(("crash", "crash after"))
        if self.faults.kinds and self.rng.random() < self.faults.share:
            return self.rng.choice(self.faults.kinds)
        return ""

    def _refuse(self, status: int) -> Answer:
        headers = {"Retry-After": str(self.rng.choice((1, 3, 10, 600)))} if status == 429 else {}
        return Refused(status, _REASONS[status], "as the simulation wants it", headers).answer()


@dataclass
class OperatorProcess:
    """A process of the operator, from its start to its death."""

    server: ModelApiServer
    time: Time
    faults: Faults
    settings: OperatorSettings
    ask: Callable[[str], Awaitable[RunProgress | None]]
    died: Callable[[OperatorProcess], None]
    classes: Classes
    began_to_lead: Callable[[], None]
    skew: timedelta = timedelta(0)
    """How wrong its clock is."""
    identity: str = ""
    """Its name as a candidate; '' for one that is alone and leads at once."""
    living: bool = True
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = self.time.rng
        self.connection = Connection(
            self.server, self.time, rng, self.faults, self.die, lambda: self.living, self._check_leading
        )
        self.election: Election | None = None
        if self.identity:
            clock = self.time.now
            self.election = Election(
                ModelClient(self.connection), ELECTION, self.identity, clock, self.now, chance=rng.random
            )
        may_write = (lambda: math.inf) if self.election is None else self.election.seconds_left
        self.client = (self.classes.client or ModelClient)(self.connection, may_write)
        backend = self.classes.backend(self.settings, lambda: f"{rng.getrandbits(64):x}")
        self.queue: WorkQueue[Key] = WorkQueue(Delays(rest=2.0), chance=rng.random)
        deliveries = Deliveries()
        kinds: tuple[Kind, ...] = (EVALRUNS, *backend.kinds)
        self.observer = self.classes.observer(self.client, backend, self.ask, self.now)
        self.reconciler = self.classes.reconciler(
            self.client, backend, self.observer, self.settings, self.now, _Nobody(self.settings.metrics)
        )
        owners = Owners()
        self.resync = Resync(self.client, self._news, deliveries, kinds, (), self.settings.resync_seconds, owners)
        self.handler = EventHandler(self.queue.add, deliveries, self.observer.learn, owners, missed=self._news)
        self.watched = {kind.plural: kind for kind in kinds}
        self._heard_at: dict[str, float] = {}
        self.tasks: list[asyncio.Task[Any]] = []
        self._begin(self._lead())

    def _begin(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part)
        task.add_done_callback(self._ended)
        self.tasks.append(task)

    async def _lead(self) -> None:
        """Wait until it leads; then work, until it does not any more."""
        if self.election is not None:
            await self.election.win()
        self.began_to_lead()
        self.server.on_change.append(self._hear)
        for ref, one in list(self.server.objects.items()):
            self._hear("", ref, one)
        for part in (
            self.queue.run(self._reconcile),
            self.queue.run(self._reconcile),
            self.resync.run(),
            self._probe(),
        ):
            self._begin(part)
        if self.election is None:
            await asyncio.get_running_loop().create_future()
        else:
            with contextlib.suppress(LeaseLost):
                await self.election.keep()

    def _check_leading(self) -> None:
        lease = self.server.objects.get(Ref("leases", ELECTION.namespace, ELECTION.name))
        if self.election is not None and (lease is None or lease["spec"]["holderIdentity"] != self.identity):
            self.errors.append(AssertionError(f"fence: {self.identity} writes and does not lead"))
            self.die()

    @property
    def leads(self) -> bool:
        """Whether it works."""
        return self.living and (self.election is None or self.election.leads)

    def now(self) -> datetime:
        """Return what its clock shows."""
        return self.time.date() + self.skew

    async def _reconcile(self, key: Key) -> float | None:
        """Let the reconciler work; what it does not expect is a defect, although the queue would retry."""
        try:
            return await self.reconciler.reconcile(key)
        except (OperatorError, TimeoutError):
            raise
        except Exception as error:
            self.errors.append(error)
            self.die()
            raise

    def _news(self, key: Key) -> None:
        self.observer.forget(key)
        self.queue.add(key)

    def _hear(self, what: str, ref: Ref, one: Object) -> None:
        """Let the watch deliver a change some time; perhaps never, and perhaps before an earlier one."""
        kind = self.watched.get(ref.plural)
        calm = self.time.now() >= self.faults.over_at
        if kind is None or (not calm and self.time.rng.random() < self.faults.lost_events):
            return
        event = {"type": what or None, "object": dict(one)}
        # Those of one object come in their order, those of several in any.
        delay = self.time.rng.uniform(0.01, 0.2 if calm else self.faults.slow_events)
        uid = one["metadata"]["uid"]
        at = self._heard_at[uid] = max(self.time.now() + delay, self._heard_at.get(uid, 0.0) + 1e-6)
        self.time.loop.call_at(at, self._deliver, kind, event)

    def _deliver(self, kind: Kind, event: Mapping[str, Any]) -> None:
        if self.living:
            self.handler.handle(kind, event)

    async def _probe(self) -> None:
        """Be the kubelet: an operator whose watch is silent is restarted."""
        while self.resync.silent is None:
            await asyncio.sleep(30)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End with the first part that ends, as ``app`` does."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)
        self.die()

    def die(self) -> None:
        """End at once, as by SIGKILL."""
        if not self.living:
            return
        self.living = False
        if self._hear in self.server.on_change:
            self.server.on_change.remove(self._hear)
        for task in self.tasks:
            task.cancel()
        self.died(self)
