"""The watches of kopf. Their handlers add keys to the queue; none decides, patches or retries anything."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

# The type of an argument of kopf.operator that kopf does not export.
from kopf._core.reactor import inventory

from evalrun_operator.kube.client import PAGE
from evalrun_operator.kube.objects import EVALRUNS, Kind
from evalrun_operator.watch.events import CHILDREN, EventHandler


def registry(
    handler: EventHandler, kinds: tuple[Kind, ...], login: Callable[[], Awaitable[kopf.AiohttpSession]]
) -> kopf.OperatorRegistry:
    """Register what is watched, what handles it, and what opens the session of the watches."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure_watches(settings, kinds)

    @kopf.on.login(registry=handlers, retries=10, backoff=3.0)
    async def credentials(**_: Any) -> kopf.AiohttpSession:
        return await login()

    async def on_event(*, event: Any, param: Any = None, **_: Any) -> None:
        handler.handle(param, event)

    for kind in kinds:
        group, _, version = kind.api_version.rpartition("/")
        watch = kopf.on.event(
            group=group, version=version, plural=kind.plural, id=kind.plural, param=kind, registry=handlers
        )
        watch(on_event)

    return handlers


def configure_watches(settings: kopf.OperatorSettings, kinds: tuple[Kind, ...]) -> None:
    """Configure kopf; each setting has its reason beside it."""
    settings.posting.enabled = False  # events are written by `apply`, after the status
    settings.peering.standalone = True  # a Lease elects the one that works; peering needs a CRD and elects none
    settings.scanning.disabled = True  # kinds do not change at runtime; scanning needs cluster-wide permissions
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.networking.error_backoffs = Backoffs()
    settings.watching.connect_timeout = 5.0
    settings.watching.server_timeout = 300  # a watch that reconnects now and then finds the server's new address
    settings.watching.client_timeout = 330.0
    settings.watching.chunk_size = PAGE  # a whole list of tens of thousands of pods would take gigabytes
    settings.queueing.worker_limit = None  # events that wait for a place would keep their objects in memory
    settings.queueing.idle_timeout = 0.05  # handlers keep no state
    settings.persistence.diffbase_storage = NoDifferences()  # events are handled as they are, and copies cost time
    settings.process.ultimate_exiting_timeout = None  # the kubelet does that
    for kind in kinds:
        if kind is not EVALRUNS:
            group, _, version = kind.api_version.rpartition("/")
            settings.watching.label_selectors[group, version, kind.plural] = CHILDREN


class NoDifferences(kopf.DiffBaseStorage):
    """Differences of objects from those handled before, which no handler asks for."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Return nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return that nothing was handled before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


class NoMemories(inventory.ResourceMemories):
    """What kopf keeps of each object for daemons, timers and retries, of which there are none: nothing."""

    async def recall(self, raw_body: Any, **options: Any) -> inventory.ResourceMemory:
        """Make a memory for one event."""
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class Backoffs:
    """Seconds between tries of a request: about five minutes in total, then kopf and with it the process ends.

    They have jitter, so that the operators of many clusters do not return at once. None is long: after an outage of the
    API server the watches are back well before the next resync checks what they missed.
    """

    _BASE = (1, 2, 4, 8, *([15] * 20))

    def __iter__(self) -> Iterator[float]:
        return (base * random.uniform(0.8, 1.2) for base in self._BASE)
