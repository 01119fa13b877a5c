"""The driver's host in a cluster: Ray's head beside it, and the word to the replicas' pods that they may join."""

from __future__ import annotations

import threading
from collections.abc import Callable

from evalrun_api.status.conditions import Reason
from evalrun_api.wire.pods import RAY_PORT, HeadState
from evalrun_runner.driver.host import Host
from evalrun_runner.errors import RunFailed
from evalrun_runner.fleet.ray_node import RayNode, head_command
from evalrun_runner.pods.log import say
from evalrun_runner.serving.head import HeadBoard

START_TRIES = 3
"""Ray gives its own start 30 s and its helpers 15 s, which a busy machine misses; usually it takes 6 to 12 s."""
LOOK_SECONDS = 0.1


class RayHead(Host):
    """Starts Ray at once, so that it is there when preflight has passed; replicas may join when both are done."""

    def __init__(self, address: str, board: HeadBoard, on_loss: Callable[[RunFailed], None]) -> None:
        """``on_loss`` is called from another thread: the one of the run may hang in a call to a Ray that is gone."""
        self._on_loss = on_loss
        self.address = f"{address}:{RAY_PORT}"
        self._command = head_command(address)
        self._board = board
        self._ending = threading.Event()
        self._passed, self._there = threading.Event(), threading.Event()
        self._failure: RunFailed | None = None
        self._thread = threading.Thread(target=self._keep, name="ray", daemon=True)
        self._thread.start()

    def preflight_passed(self) -> None:
        """Say so; replicas are let in as soon as Ray is there."""
        say("preflight has passed")
        self._board.preflight_passed()
        self._passed.set()

    def wait_for_ray(self) -> None:
        """Return once Ray's head is there. Raises ``RunFailed``."""
        while not self._there.wait(LOOK_SECONDS):
            self.check()

    def check(self) -> None:
        """Raises ``RunFailed`` if Ray's head is gone: replicas and driver have lost each other then."""
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """End Ray; nobody joins any more."""
        self._ending.set()
        self._thread.join()

    def _keep(self) -> None:
        """Start Ray, let replicas in, and see to its end."""
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
        """Until it ends by itself, with its exit code, or is to be ended, with None."""
        announced = False
        while not self._ending.wait(LOOK_SECONDS):
            if (code := node.exit_code) is not None:
                return code
            if not self._there.is_set() and node.started:
                self._there.set()
            if not announced and self._there.is_set() and self._passed.is_set():
                self._board.announce(HeadState.OPEN)
                announced = True
        return None
