"""What a driver tells its cluster: whether it is ready, and what the replicas' pods are to do."""

from __future__ import annotations

import secrets
import threading
import time

from evalrun_api.wire.pods import HeadState
from evalrun_api.wire.runprogress import Head

FOLLOWING_SECONDS = 60.0
"""A pod that has not asked for this long is not waited for."""


class HeadBoard:
    """Thread-safe. Every driver process has an ``instance`` of its own: replicas join each anew."""

    def __init__(self) -> None:
        self.instance = secrets.token_hex(8)
        self._state = HeadState.STARTING
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._asked: dict[str, float] = {}
        """Pod -> when it last asked."""
        self._heard: set[str] = set()
        """Pods that were told ``done``, or have left before."""

    @property
    def ready(self) -> bool:
        """Whether preflight has passed."""
        return self._ready.is_set()

    def preflight_passed(self) -> None:
        """The run is worth its GPUs: say so to Kubernetes."""
        self._ready.set()

    def announce(self, state: HeadState) -> None:
        """Tell everyone who asks or waits."""
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def ask(self, pod: str, known: str, wait: float) -> Head:
        """The state: at once where it is not the one that is known, else when it changes or ``wait`` seconds passed."""
        with self._changed:
            self._asked[pod] = time.monotonic()
            self._heard.discard(pod)
            self._changed.wait_for(lambda: self._state.value != known, timeout=max(0.0, wait))
            self._asked[pod] = time.monotonic()
            if self._state is HeadState.DONE:
                self._heard.add(pod)
                self._changed.notify_all()
            return Head(instance=self.instance, state=self._state)

    def leave(self, pod: str) -> None:
        """The pod will not ask any more."""
        with self._changed:
            self._heard.add(pod)
            self._changed.notify_all()

    def wait_until_heard(self, timeout: float) -> int:
        """After ``done``: until all pods that ask have been told, at most ``timeout`` seconds; how many were not."""

        def waiting() -> int:
            lately = time.monotonic() - FOLLOWING_SECONDS
            return sum(asked > lately and pod not in self._heard for pod, asked in self._asked.items())

        with self._changed:
            self._changed.wait_for(lambda: not waiting(), timeout=timeout)
            return waiting()
