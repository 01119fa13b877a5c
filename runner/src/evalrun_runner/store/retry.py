"""Backoff for a store that is unavailable or full, longer than boto3's own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, TypeVar

from evalrun_runner.errors import StoreError, StoreFull, StoreUnavailable

T = TypeVar("T")

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 15.0


class Clock(Protocol):
    """Clock that tests can control."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait; may return early, or raise if the run should stop."""


def with_backoff(
    call: Callable[[], T],
    *,
    deadline_s: float,
    clock: Clock,
    waited_for: tuple[type[StoreError], ...] = (StoreUnavailable, StoreFull),
    on_wait: Callable[[StoreError, float], None],
    random_unit: Callable[[], float] = random.random,
) -> T:
    """Repeat a call until it succeeds or a deadline passes, with exponential backoff and jitter between tries.

    Args:
        call: The call to make.
        deadline_s: Seconds after which no further try is made.
        clock: The clock to wait with.
        waited_for: Errors after which to retry; any other error is raised immediately.
        on_wait: Called with the error and the wait in seconds before each wait; it may raise to end the waiting.
        random_unit: Returns random numbers in [0, 1).

    Raises:
        StoreError: The last error, with the number and the duration of the tries.
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
            # Half of the wait is fixed and half is random, so that a thousand replicas do not retry at once.
            longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(tries - 1, 16))
            wait_s = min(longest * (0.5 + random_unit() / 2), deadline_s - tried_s)
            on_wait(error, wait_s)
            clock.sleep(wait_s)
