"""The head's state for the cluster: whether the driver is ready, and what the replicas' pods should do."""

from __future__ import annotations

import secrets
import threading
import time

from evalrun_api import Head
from evalrun_api.wire.pods import HeadState

FOLLOWING_SECONDS = 60.0
"""Seconds without a request after which a pod is not waited for."""


class HeadStatus:
    """State that replicas' pods ask for. Thread-safe. Each driver process has its own ``instance`` to be joined."""

    def __init__(self) -> None:
        self.instance = secrets.token_hex(8)
        self._state = HeadState.STARTING
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._asked: dict[str, float] = {}
        """Map from pod to the time of its last request."""
        self._informed: set[str] = set()
        """Pods that received ``done``, or have left before."""

    @property
    def ready(self) -> bool:
        """Whether preflight has passed."""
        return self._ready.is_set()

    def preflight_passed(self) -> None:
        """Report readiness to Kubernetes, after which the run gets its GPUs."""
        self._ready.set()

    def announce(self, state: HeadState) -> None:
        """Set the state and answer all waiting requests."""
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def ask(self, pod: str, known: str, wait: float) -> Head:
        """Return the state: immediately if it differs from the known one, else after a change or the wait.

        Args:
            pod: Name of the asking pod.
            known: The state that the pod knows.
            wait: Maximum time to wait for a change, in seconds.
        """
        with self._changed:
            self._asked[pod] = time.monotonic()
            self._informed.discard(pod)
            self._changed.wait_for(lambda: self._state.value != known, timeout=max(0.0, wait))
            self._asked[pod] = time.monotonic()
            if self._state is HeadState.DONE:
                self._informed.add(pod)
                self._changed.notify_all()
            return Head(instance=self.instance, state=self._state)

    def leave(self, pod: str) -> None:
        """Record that a pod will not ask any more."""
        with self._changed:
            self._informed.add(pod)
            self._changed.notify_all()

    def wait_until_informed(self, timeout: float) -> int:
        """Wait until all asking pods have received ``done``.

        Args:
            timeout: Maximum time to wait, in seconds.

        Returns:
            The number of pods that did not receive it.
        """

        def waiting() -> int:
            lately = time.monotonic() - FOLLOWING_SECONDS
            return sum(asked > lately and pod not in self._informed for pod, asked in self._asked.items())

        with self._changed:
            self._changed.wait_for(lambda: not waiting(), timeout=timeout)
            return waiting()
