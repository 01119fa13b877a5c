"""Election of the one operator that works, by a Lease of the API server: one leads, the others stand by.

The algorithm is that of client-go's leader election. Every ``retry_seconds`` each operator reads the Lease. Its holder
renews it. Another one takes it when it has seen no change of it for the Lease's own duration: changes are timed by its
own clock, so that no two clocks are compared. The resource version lets only one of them write.

The fence: with t the moment before the request of the last successful renewal,

    a leader begins no write after           t + renew_seconds,
    waits for no write beyond                t + lease_seconds,
    and nobody takes its Lease before        t + lease_seconds.

So a leader that is cut off, starved or suspended has stopped before another one begins. What a request does that is
still under way then is bounded by the preconditions of every write (``apply``).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import AlreadyExists, Conflict, NotFound, OperatorError
from evalrun_operator.kube.objects import LEASES, Manifest
from evalrun_operator.settings import ElectionSettings

logger = logging.getLogger(__name__)

TRY_SECONDS = 5.0
"""Timeout of one attempt to take or renew the Lease."""
JITTER = 0.2
"""Share of a pause of those who wait, so that they do not ask at the same time."""


class LeaseLost(Exception):
    """The Lease could not be renewed in time: another operator may lead soon. The process should end."""


def elapsed() -> float:
    """Return the seconds of a clock that nobody sets and that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class _Record:
    """What a Lease says."""

    holder: str
    seconds: float
    renewed: str


@dataclass(slots=True)
class Election:
    """One candidate. ``clock`` returns seconds that only increase; ``now`` is written for people alone."""

    client: Client
    settings: ElectionSettings
    identity: str
    clock: Callable[[], float] = elapsed
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    chance: Callable[[], float] = random.random
    heard: bool = False
    """Whether the API server has answered: this candidate could take over."""
    leads: bool = False
    """Whether it was elected, and has neither lost nor released the Lease."""
    _seen: _Record | None = None
    _seen_at: float = 0.0
    _renewed_at: float = 0.0

    async def win(self) -> None:
        """Wait until this candidate leads."""
        while not await self._try():
            await asyncio.sleep(self.settings.retry_seconds * (1 + JITTER * self.chance()))
        self.leads = True
        logger.info("leading as %s", self.identity)

    async def keep(self) -> None:
        """Renew the Lease until that fails. Raises ``LeaseLost`` ``renew_seconds`` after the last success."""
        try:
            while True:
                left = self._renewed_at + self.settings.renew_seconds - self.clock()
                async with asyncio.timeout(max(0.0, left)):
                    await self._renew()
        except TimeoutError as error:
            raise LeaseLost(
                f"the Lease {self.settings.namespace}/{self.settings.name} could not be renewed for "
                f"{self.settings.renew_seconds:g} s; another operator takes over"
            ) from error
        finally:
            self.leads = False

    async def release(self) -> None:
        """Give the Lease back, so that another operator takes over at once; call it when nothing is written any more.

        Does nothing unless the Lease is certainly still held. A failure costs only time.
        """
        if self.seconds_left() <= 0:
            return
        self._renewed_at = -float("inf")
        try:
            async with asyncio.timeout(TRY_SECONDS):
                lease = await self.client.get(LEASES, self.settings.namespace, self.settings.name)
                if _record(lease).holder == self.identity:
                    await self._write(lease, {"holderIdentity": "", "leaseDurationSeconds": 1})
                    logger.info("the Lease is released")
        except (OperatorError, TimeoutError) as error:
            logger.warning("the Lease was not released, it expires by itself: %s", error)

    def seconds_left(self) -> float:
        """Return the seconds for which a write that begins now may take; 0 if none may begin."""
        since = self.clock() - self._renewed_at
        return self.settings.lease_seconds - since if since < self.settings.renew_seconds and self._holds else 0.0

    @property
    def _holds(self) -> bool:
        return self._seen is not None and self._seen.holder == self.identity

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.settings.retry_seconds)
            if await self._try():
                return

    async def _try(self) -> bool:
        """Take or renew the Lease; return whether this candidate holds it."""
        asked = self.clock()
        try:
            async with asyncio.timeout(TRY_SECONDS):
                held = await self._take()
        except (AlreadyExists, Conflict):
            held = False  # another one was faster
        except (OperatorError, TimeoutError) as error:
            logger.warning("the Lease %s/%s: %s", self.settings.namespace, self.settings.name, error or "no answer")
            return False
        self.heard = True
        if held:
            self._renewed_at = asked
        return held

    async def _take(self) -> bool:
        namespace, name = self.settings.namespace, self.settings.name
        try:
            lease = await self.client.get(LEASES, namespace, name)
        except NotFound:
            spec = self._term() | {"acquireTime": self._stamp(), "leaseTransitions": 0}
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": {"name": name}, "spec": spec}
            self._see(_record(await self.client.create(LEASES, namespace, body)))
            return True
        record = _record(lease)
        if record != self._seen:
            self._see(record)
        held = record.holder == self.identity
        if (
            record.holder
            and not held
            and self.clock() < self._seen_at + (record.seconds or self.settings.lease_seconds)
        ):
            return False
        spec = self._term()
        if not held:
            before = (lease.get("spec") or {}).get("leaseTransitions")
            spec |= {
                "acquireTime": self._stamp(),
                "leaseTransitions": before + 1 if isinstance(before, int) else 1,
            }
        self._see(_record(await self._write(lease, spec)))
        return True

    def _see(self, record: _Record) -> None:
        self._seen, self._seen_at = record, self.clock()

    def _term(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self.settings.lease_seconds),
            "renewTime": self._stamp(),
        }

    async def _write(self, lease: Manifest, spec: Mapping[str, Any]) -> dict[str, Any]:
        metadata = lease["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": spec}
        return await self.client.patch(LEASES, self.settings.namespace, self.settings.name, metadata["uid"], body)

    def _stamp(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _record(lease: Manifest) -> _Record:
    """Read a Lease; a field that somebody damaged counts as absent."""
    spec = lease.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    return _Record(
        holder=str(spec.get("holderIdentity") or ""),
        seconds=float(seconds) if isinstance(seconds, int) and seconds > 0 else 0.0,
        renewed=str(spec.get("renewTime") or ""),
    )
