"""The request to stop a run, and who answers it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cancellation:
    """A request to stop, made once by a signal handler or another thread.

    A run is stopped in one of two ways. Where it is *graceful*, it looks at ``requested`` itself, commits what is
    complete and ends. Elsewhere (a model is loaded, results are written) nobody looks, and whoever made the request
    has to interrupt the run: ``request`` says which of the two holds.
    """

    def __init__(self) -> None:
        self._requested = False
        self._graceful = False
        # Of an RLock, unlike the condition of a threading.Event: a signal handler may interrupt the thread that
        # waits while it holds the lock.
        self._changed = threading.Condition(threading.RLock())

    @property
    def requested(self) -> bool:
        """Whether the run is to stop."""
        return self._requested

    @property
    def is_graceful(self) -> bool:
        """Whether the run stops by itself when it is requested to."""
        return self._graceful

    def request(self) -> bool:
        """Request the run to stop. Safe in a signal handler.

        Returns:
            True if the run stops by itself; False if the caller has to interrupt it.
        """
        self._requested = True
        with self._changed:
            self._changed.notify_all()
        return self._graceful

    def wait(self, seconds: float) -> bool:
        """Wait so long for a request; return whether there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._requested, seconds)

    @contextmanager
    def graceful(self) -> Iterator[None]:
        """Answer requests inside the block: they are left to the code in it, which looks at ``requested``."""
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False
