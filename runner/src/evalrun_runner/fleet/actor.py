"""A replica as a Ray actor, in a process of its own."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

from evalrun_runner.fleet.draining import DrainFolder
from evalrun_runner.records.messages import Order
from evalrun_runner.replica.assembly import build_replica
from evalrun_runner.replica.settings import ReplicaSettings

DRAIN_POLL_SECONDS = 0.2
GOODBYE_SECONDS = 3.0
"""Seconds to wait until a drained replica's last report is requested, and again until the driver ends the replica."""


class ReplicaActor:
    """The Ray actor: a ``Replica`` in a process of its own."""

    def __init__(self, name: str, settings: ReplicaSettings) -> None:
        self._replica = build_replica(name, settings)
        self._said_goodbye = threading.Event()

    def hello(self) -> None:
        """Answer, which says that Ray has started this process."""

    def load(self) -> dict[str, object]:
        """Load the engine."""
        folder = DrainFolder.of(os.environ)
        if folder is not None:
            folder.move_in()
        facts = self._replica.load()
        if folder is not None:
            threading.Thread(target=self._drain_when_asked, args=(folder,), name="drain", daemon=True).start()
            folder.serve()
        return {"host": socket.gethostname(), **facts}

    def exchange(self, order: Order, wait: float) -> Any:
        """Pass on the driver's order, and return the replica's report."""
        report = self._replica.exchange(order, wait)
        if report.leaving:
            self._said_goodbye.set()
        return report

    def _drain_when_asked(self, folder: DrainFolder) -> None:
        while not folder.asked:
            time.sleep(DRAIN_POLL_SECONDS)
        self._replica.drain()
        # A driver ends this process after the last report; if the driver is gone, the process must end by itself.
        if self._said_goodbye.wait(GOODBYE_SECONDS):
            time.sleep(GOODBYE_SECONDS)
        os._exit(0)
