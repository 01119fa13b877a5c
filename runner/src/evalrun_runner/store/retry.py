"""Backoff for a store that is unavailable or full, longer than boto3's own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from evalrun_api.backoff import backoff
from evalrun_runner.errors import StoreError, StoreFull, StoreUnavailable

T = TypeVar("T")


class Clock(Protocol):
    """Clock that tests can control."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait; may return early, or raise if the run should stop."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for. Times are in seconds."""

    deadline_s: float
    """Time from the first try after which no further try is made."""
    first_wait_s: float = 0.2
    """Wait before the second try; doubles with each further one."""
    longest_wait_s: float = 15.0
    """Upper limit of the wait before any try."""


def with_backoff(
    call: Callable[[], T],
    patience: Patience,
    *,
    clock: Clock,
    waited_for: tuple[type[StoreError], ...] = (StoreUnavailable, StoreFull),
    on_wait: Callable[[StoreError, float], None],
    random_unit: Callable[[], float] = random.random,
) -> T:
    """Repeat a call until it succeeds or the patience is over, with exponential back-off and jitter between tries.

    Args:
        call: The call to make.
        patience: How long to wait for the store.
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
            if tried_s >= patience.deadline_s:
                raise type(error)(f"{error} (tried {tries} times in {tried_s:.0f} s)") from error
            wait_s = backoff(tries, patience.first_wait_s, patience.longest_wait_s, random_unit())
            wait_s = min(wait_s, patience.deadline_s - tried_s)
            on_wait(error, wait_s)
            clock.sleep(wait_s)
