"""The driver's host in a cluster: Ray's head beside it, and the word to the replicas' pods that they may join."""

from __future__ import annotations

import threading

from evalrun_api.pods import RAY_PORT, HeadState
from evalrun_runner.driver.host import Host
from evalrun_runner.errors import RunFailed
from evalrun_runner.pods.board import HeadBoard
from evalrun_runner.pods.ray_node import RayNode, head_command

START_SECONDS = 180.0
"""For Ray's head to start; it takes 6 to 12 s on two busy cores."""
LOOK_SECONDS = 0.1


class RayHead(Host):
    """Starts Ray at once, so that it is there when preflight has passed; replicas may join when both are done."""

    def __init__(self, address: str, board: HeadBoard) -> None:
        self.address = f"{address}:{RAY_PORT}"
        self._board = board
        self._node = RayNode(head_command(address))
        self._ended = threading.Event()

    def preflight_passed(self) -> None:
        """Say so, and let replicas in as soon as Ray is there."""
        self._board.preflight_passed()
        threading.Thread(target=self._open, name="opening", daemon=True).start()

    def wait_for_ray(self) -> None:
        """Return once Ray's head is there. Raises ``RunFailed``."""
        pause = threading.Event()
        for _ in range(round(START_SECONDS / LOOK_SECONDS)):
            self.check()
            if self._node.started:
                return
            pause.wait(LOOK_SECONDS)
        raise RunFailed(f"Ray's head did not start within {START_SECONDS:.0f} s:\n{self._node.said()}")

    def check(self) -> None:
        """Raises ``RunFailed`` if Ray's head is gone: replicas and driver have lost each other then."""
        if (code := self._node.exit_code) is not None:
            raise RunFailed(f"Ray's head ended by itself with {code}:\n{self._node.said()}")

    def end(self) -> None:
        """End Ray; nobody joins any more."""
        self._ended.set()
        self._node.end(0.0)

    def _open(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if self._node.started:
                self._board.announce(HeadState.OPEN)
                return
