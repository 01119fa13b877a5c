"""A queue of keys for level-based work: a key that is there is not added twice, and never worked on twice at once.

What a key needs is found out when its turn comes, so that ten events of one object cost one run. An event while a key
is being worked on brings it back afterwards; one that comes right after waits until ``rest`` is over, as events come
in swarms. A run that fails comes back after a delay that doubles, with jitter, up to a limit; new events bring it back
sooner, but never before the time that a busy API server asked for (``retry_after`` of the error).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from evalrun_operator.kube.errors import OperatorError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

Work = Callable[[K], Awaitable[float | None]]
"""Works on a key; answers in how many seconds it wants to see it again, None: only with an event."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Times of a queue, in seconds."""

    rest: float = 0.2
    """Between two runs of one key."""
    first_retry: float = 0.5
    """After the first failure; doubles with each."""
    last_retry: float = 60.0
    """At most, after a failure."""

    def retry(self, failures: int, chance: float) -> float:
        """Delay after so many failures in a row; ``chance`` in [0, 1) spreads it over its upper half."""
        whole: float = min(self.last_retry, self.first_retry * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + chance / 2)


class WorkQueue(Generic[K]):
    """Keys that need work. All times are the event loop's; used from that loop only.

    ``waited`` is told for how many seconds a key was due when its work begins.
    """

    def __init__(
        self,
        delays: Delays | None = None,
        chance: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._delays = delays or Delays()
        self._chance = chance
        self._waited = waited
        self._ready: deque[K] = deque()
        self._due: dict[K, float] = {}
        """Since when: the keys that are ready or being worked on."""
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
        """Something happened to this key."""
        if key in self._running:
            self._again.add(key)
        else:
            self._schedule(key, 0.0)

    def add_after(self, key: K, seconds: float) -> None:
        """Look at this key in so many seconds, unless it is looked at sooner."""
        if key not in self._running:
            self._schedule(key, seconds)

    def stalled(self) -> float:
        """Seconds for which keys have been due and no run has ended; 0 while work goes on or there is none."""
        if not self._due:
            return 0.0
        since = max(min(self._due.values()), self._finished_at)
        return max(0.0, _now() - since)

    def __len__(self) -> int:
        """Keys that are ready or being worked on."""
        return len(self._due)

    def close(self) -> None:
        """Begin no more work; workers return when they are at the end of what they do."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        while self._waiting:
            self._wake()

    async def run(self, work: Work[K]) -> None:
        """Work on one key after another, until the queue is closed; call it once per worker."""
        while (key := await self._next()) is not None:
            error: Exception | None = None
            again: float | None = None
            try:
                again = await work(key)
            except Exception as failure:  # noqa: BLE001 (whatever it is, the key comes back and the worker lives)
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
                # A wake-up that this worker got and cannot use belongs to another one.
                if future.done() and not future.cancelled():
                    self._wake()
                raise
        if self._closed:
            return None
        key = self._ready.popleft()
        self._running.add(key)
        self._waited(_now() - self._due[key])
        return key

    def _done(self, key: K) -> None:
        self._running.discard(key)
        self._due.pop(key, None)
        self._finished_at = _now()

    def _forget(self, key: K) -> None:
        """Forget the failures of a key: the next one is its first again."""
        self._failures.pop(key, None)

    def _requeue(self, key: K, seconds: float | None) -> None:
        """Add a key after its work: when the work asked for it, or after its rest where an event came meanwhile."""
        if key in self._again:
            seconds = 0.0
        if seconds is None:
            # A key that is gone leaves nothing behind.
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
        # Once is nothing, as with a conflict; what is not expected at all is shown with all that is known of it.
        level = logging.INFO if expected and failures == 1 else logging.WARNING
        text = "%s: failed %d times in a row, again in %.1f s: %s"
        logger.log(level, text, key, failures, max(delay, asked), error, exc_info=None if expected else error)

    def _schedule(self, key: K, seconds: float) -> None:
        """Make a key ready at that time, or when its rest is over; an earlier time that is set stays."""
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
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return


def _now() -> float:
    return asyncio.get_running_loop().time()
