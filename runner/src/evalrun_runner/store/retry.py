"""Waiting for a store that is away or full: the long backoff above boto3's short one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, TypeVar

from evalrun_runner.errors import StoreError, StoreFull, StoreUnavailable

T = TypeVar("T")

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 15.0


class Clock(Protocol):
    """Time that tests control."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait; may return early or raise when the run is to stop."""


def with_backoff(
    call: Callable[[], T],
    *,
    deadline_s: float,
    clock: Clock,
    waited_for: tuple[type[StoreError], ...] = (StoreUnavailable, StoreFull),
    on_wait: Callable[[StoreError, float], None],
    random_unit: Callable[[], float] = random.random,
) -> T:
    """Call until it succeeds or ``deadline_s`` have passed, waiting between tries ever longer, with jitter.

    Only errors of ``waited_for`` are waited for; every other one is raised at once. ``on_wait(error,
    seconds)`` is told before each wait: to report the trouble, or to raise and so end the waiting. ``random_unit``
    gives numbers in [0, 1). The last error is raised again, with how long and how often it was tried.
    """
    start = clock.now()
    tries = 0
    while True:
        try:
            return call()
        except waited_for as error:
            tries += 1
            tried_s = clock.now() - start
            if tried_s >= deadline_s:
                raise type(error)(f"{error} (tried {tries} times in {tried_s:.0f} s)") from error
            # Half of the wait is sure, half is chance, so that a thousand replicas do not come back as one.
            longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(tries - 1, 16))
            wait_s = min(longest * (0.5 + random_unit() / 2), deadline_s - tried_s)
            on_wait(error, wait_s)
            clock.sleep(wait_s)
