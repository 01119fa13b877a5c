"""The driver's host in a cluster: starts Ray's head, and lets the replicas' pods join."""

from __future__ import annotations

import threading
from collections.abc import Callable

from evalrun_api import Reason
from evalrun_api.addresses import join_host_port
from evalrun_api.wire.pods import RAY_PORT, HeadState
from evalrun_runner.driver.host import Host
from evalrun_runner.errors import RunFailed
from evalrun_runner.fleet.ray_node import RayNode, head_command
from evalrun_runner.pods.log import say
from evalrun_runner.serving.head import HeadStatus

START_TRIES = 3
"""Number of attempts to start Ray. It usually takes 6 to 12 s, but a busy machine may miss Ray's limits.

Ray's limits are 30 s for its own start and 15 s for its helpers.
"""
LOOK_SECONDS = 0.1


class RayHead(Host):
    """Host that starts Ray immediately, in parallel with preflight; replicas may join when both are done."""

    def __init__(self, address: str, head_status: HeadStatus, on_loss: Callable[[RunFailed], None]) -> None:
        """Start Ray.

        Args:
            address: The pod's address.
            head_status: The head's state, to announce that replicas may join.
            on_loss: Called if Ray dies, from a thread of its own, because the run's may hang in a call to Ray.
        """
        self._on_loss = on_loss
        self.address = join_host_port(address, RAY_PORT)
        self._command = head_command(address)
        self._head_status = head_status
        self._ending = threading.Event()
        self._passed, self._there = threading.Event(), threading.Event()
        self._failure: RunFailed | None = None
        self._thread = threading.Thread(target=self._keep, name="ray", daemon=True)
        self._thread.start()

    def preflight_passed(self) -> None:
        """Record that preflight has passed; replicas may join as soon as Ray runs."""
        say("preflight has passed")
        self._head_status.preflight_passed()
        self._passed.set()

    def wait_for_ray(self) -> None:
        """Wait until Ray's head runs.

        Raises:
            RunFailed: Ray's head did not start.
        """
        while not self._there.wait(LOOK_SECONDS):
            self.check()

    def check(self) -> None:
        """Check that Ray's head still runs, without which driver and replicas cannot communicate.

        Raises:
            RunFailed: Ray's head has died.
        """
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """End Ray, so that no replica can join any more."""
        self._ending.set()
        self._thread.join()

    def _keep(self) -> None:
        """Start Ray, let replicas join, and watch Ray until its end."""
        for tries_left in reversed(range(START_TRIES)):
            node = RayNode(self._command, alone=False)
            code = self._run(node)
            words = node.output().strip().rpartition("\n")[2]
            node.end(0.0)
            if code is None:
                return
            if self._there.is_set() or not tries_left:
                why = f"Ray's head ended by itself with exit code {code}: {words}"
                self._failure = RunFailed(why, reason=Reason.DRIVER_FAILED)
                self._on_loss(self._failure)
                return
            say(f"Ray's head did not start ({words}): once more")

    def _run(self, node: RayNode) -> int | None:
        """Watch the node until it ends by itself, and return its exit code; None if it should be ended."""
        announced = False
        while not self._ending.wait(LOOK_SECONDS):
            if (code := node.exit_code) is not None:
                return code
            if not self._there.is_set() and node.started:
                self._there.set()
            if not announced and self._there.is_set() and self._passed.is_set():
                self._head_status.announce(HeadState.OPEN)
                announced = True
        return None
