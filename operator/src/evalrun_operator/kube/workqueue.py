"""A work queue for level-based reconciliation: keys are deduplicated, and no key is processed twice at once.

A worker finds out what a key needs when its turn comes, so ten events of one object cost one reconcile. An event during
the work brings the key back afterwards; an event right after it waits until ``rest`` is over, because events come in
bursts. A key whose work fails comes back after a delay that doubles, with jitter, up to a limit; new events bring it
back sooner, but never before the time that a busy API server asked for (``retry_after`` of the error).

The vocabulary is that of controller-runtime's work queue: add, add after, add rate limited, forget, done.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from evalrun_api.backoff import backoff
from evalrun_operator.kube.errors import OperatorError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

Work = Callable[[K], Awaitable[float | None]]
"""Processes a key; returns the seconds after which to process it again, or None to wait for an event."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays of a queue, in seconds."""

    rest: float = 0.2
    """Between two runs of one key."""
    first_retry: float = 0.5
    """After the first failure; doubles with each further one."""
    last_retry: float = 60.0
    """Upper limit of the delay after a failure."""

    def retry(self, failures: int, chance: float) -> float:
        """Compute the delay after ``failures`` consecutive failures.

        Args:
            failures: Consecutive failures, from 1.
            chance: A number in [0, 1) that spreads the delay over its upper half.

        Returns:
            Seconds.
        """
        return backoff(failures, self.first_retry, self.last_retry, chance)


class WorkQueue(Generic[K]):
    """Keys that need work. All times are those of the event loop; use it from that loop only.

    ``waited`` receives the seconds for which a key was due when its work begins. ``group_of`` names the group of a key:
    those with keys that are due take turns, so that a group with thousands of them does not delay the others.
    """

    def __init__(
        self,
        delays: Delays | None = None,
        chance: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _: None,
        group_of: Callable[[K], Hashable] = lambda _: None,
    ) -> None:
        self._delays = delays or Delays()
        self._chance = chance
        self._waited = waited
        self._group_of = group_of
        self._ready: dict[Hashable, deque[K]] = {}
        """Keys that are due, by group; the first group has the next turn."""
        self._due: dict[K, float] = {}
        """Times since when keys are ready or being processed."""
        self._running: set[K] = set()
        self._again: set[K] = set()
        """Keys with events since their present run began."""
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._not_before: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._finished_at = 0.0
        self._closed = False

    def add(self, key: K) -> None:
        """Add a key because of an event."""
        if key in self._running:
            self._again.add(key)
        else:
            self._schedule(key, 0.0)

    def add_after(self, key: K, seconds: float) -> None:
        """Add a key in ``seconds``, unless it is added sooner."""
        if key not in self._running:
            self._schedule(key, seconds)

    def stalled(self) -> float:
        """Return the seconds for which keys were due and no run ended; 0 while work proceeds or none is due."""
        if not self._due:
            return 0.0
        since = max(min(self._due.values()), self._finished_at)
        return max(0.0, _now() - since)

    def __len__(self) -> int:
        """Count the keys that are ready or being processed."""
        return len(self._due)

    def close(self) -> None:
        """Begin no more work; workers return when they finish what they are doing."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        while self._waiting:
            self._wake()

    async def run(self, work: Work[K]) -> None:
        """Process one key after another until the queue is closed; call it once per worker."""
        while (key := await self._next()) is not None:
            error: Exception | None = None
            again: float | None = None
            try:
                again = await work(key)
            except Exception as failure:  # noqa: BLE001 (the key is retried and the worker survives any error)
                error = failure
            finally:
                self._done(key)
            if error is not None:
                self._add_rate_limited(key, error)
            else:
                self._forget(key)
                self._requeue(key, again)
            self._again.discard(key)

    async def _next(self) -> K | None:
        while not self._closed and not self._ready:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                # This worker got a wake-up that it cannot use: pass it on.
                if future.done() and not future.cancelled():
                    self._wake()
                raise
        if self._closed:
            return None
        key = self._take()
        self._running.add(key)
        self._waited(_now() - self._due[key])
        return key

    def _take(self) -> K:
        """Take the oldest key of the group whose turn it is."""
        group = next(iter(self._ready))
        keys = self._ready.pop(group)
        key = keys.popleft()
        if keys:
            self._ready[group] = keys
        return key

    def _done(self, key: K) -> None:
        self._running.discard(key)
        self._due.pop(key, None)
        self._finished_at = _now()

    def _forget(self, key: K) -> None:
        """Forget the failures of a key: the next one counts as its first."""
        self._failures.pop(key, None)

    def _requeue(self, key: K, seconds: float | None) -> None:
        """Add a key after its work: when the work asked for it, or after its rest if an event came meanwhile."""
        if key in self._again:
            seconds = 0.0
        if seconds is None:
            # Keep nothing about a key that may be gone.
            self._not_before.pop(key, None)
            return
        self._not_before[key] = _now() + self._delays.rest
        self.add_after(key, seconds)

    def _add_rate_limited(self, key: K, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._delays.retry(failures, self._chance())
        expected = isinstance(error, OperatorError)
        asked = (error.retry_after if isinstance(error, OperatorError) else None) or 0.0
        self._not_before[key] = _now() + max(self._delays.rest, asked)
        self._schedule(key, max(delay, asked))
        # A single failure, such as a conflict, is normal; an unexpected error is logged with its traceback.
        level = logging.INFO if expected and failures == 1 else logging.WARNING
        text = "%s: failed %d times in a row, retrying in %.1f s: %s"
        logger.log(level, text, key, failures, max(delay, asked), error, exc_info=None if expected else error)

    def _schedule(self, key: K, seconds: float) -> None:
        """Make a key ready in ``seconds``, or when its rest is over; an earlier scheduled time stays."""
        if key in self._due or self._closed:
            return
        now = _now()
        when = max(now + seconds, self._not_before.get(key, 0.0))
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
            del self._timers[key]
        if when <= now:
            self._make_ready(key)
        else:
            self._timers[key] = asyncio.get_running_loop().call_at(when, self._make_ready, key)

    def _make_ready(self, key: K) -> None:
        self._timers.pop(key, None)
        self._due[key] = _now()
        self._ready.setdefault(self._group_of(key), deque()).append(key)
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return


def _now() -> float:
    return asyncio.get_running_loop().time()
