"""Downloads in threads, which retry after network errors and stop at the first failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from evalrun_runner.errors import StoreError
from evalrun_runner.models.types import Transfer
from evalrun_runner.store.retry import Patience, with_backoff

T = TypeVar("T")
_log = logging.getLogger(__name__)


def run_all(tasks: Iterable[Callable[[], None]], threads: int, transfer: Transfer) -> None:
    """Run tasks in threads. The first error, or Ctrl-C, stops the other tasks at their next block and is raised."""
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            transfer.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def patiently(call: Callable[[], T], patience_s: float, stopped: threading.Event | None = None) -> T:
    """Repeat a call that raises StoreUnavailable, until ``patience_s`` seconds were spent waiting between tries.

    The duration of the tries does not count: a file of many gigabytes may fail after an hour and continue. After
    ``stopped`` is set there are no more tries.
    """
    stopped = stopped or threading.Event()

    def on_wait(error: StoreError, seconds: float) -> None:
        if stopped.is_set():
            raise error
        _log.warning("%s; trying again in %.1f s", error, seconds)

    return with_backoff(call, Patience(patience_s), clock=_WaitedTime(stopped), on_wait=on_wait)


class _WaitedTime:
    """Clock that runs only while it sleeps."""

    def __init__(self, wake: threading.Event) -> None:
        self._waited_s = 0.0
        self._wake = wake

    def now(self) -> float:
        return self._waited_s

    def sleep(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._waited_s += seconds
