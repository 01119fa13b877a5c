"""Ray in a pod: the command lines of its head and of its other nodes, and the node as a child of ours."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from evalrun_api.wire.pods import RAY_PORT, RAY_PORTS
from evalrun_runner.fleet.draining import VARIABLE, DrainFolder
from evalrun_runner.fleet.processes import Tree
from evalrun_runner.fleet.ray_environment import OBJECT_STORE_BYTES, RAY_ENVIRONMENT

STARTED = "Ray runtime started"
"""What ``ray start`` says when its node is part of the cluster."""
END_SECONDS = 5.0
"""For a node to take its leave from the head; then its processes are killed."""


def head_command(address: str) -> list[str]:
    """``ray start`` for the driver's pod: no work runs there."""
    return [
        *_start(address),
        "--head",
        f"--port={RAY_PORT}",
        "--num-cpus=0",
        "--include-dashboard=false",
        "--no-monitor",  # the autoscaler's
    ]


def replica_command(address: str, head: str) -> list[str]:
    """``ray start`` for a replica's pod. Ray counts no GPUs there: the one replica has them all."""
    return [
        *_start(address),
        f"--address={head}:{RAY_PORT}",
        f"--num-cpus={os.cpu_count() or 1}",
        f"--resources={json.dumps({'replica': 1})}",
    ]


def _start(address: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        f"--node-ip-address={address}",
        *(f"--{name}={port}" for name, port in RAY_PORTS.items()),
        "--num-gpus=0",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--include-log-monitor=false",
        "--disable-usage-stats",
    ]


class RayNode:
    """A Ray node of this pod."""

    def __init__(self, command: list[str], environment: Mapping[str, str] = os.environ, *, alone: bool) -> None:
        """Start it; ``started`` says when it is there. ``alone``: this process has no other children."""
        self._folder = tempfile.TemporaryDirectory(prefix="evalrun-ray-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self.draining = DrainFolder(folder)
        whole = {
            **RAY_ENVIRONMENT,
            # Draining is ours: Ray's own would kill the replica when its lease on the node ends.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            **environment,
            VARIABLE: str(folder),
        }
        self._tree = Tree(command, whole, folder / "ray.log", alone=alone)

    @property
    def started(self) -> bool:
        """Whether it is part of its cluster."""
        return STARTED in self.said(200)

    @property
    def exit_code(self) -> int | None:
        """Of ``ray start``; None while it runs. To be asked now and then (see ``Tree``)."""
        return self._tree.exit_code

    def said(self, lines: int = 12) -> str:
        """The last lines of what ``ray start`` said."""
        return self._tree.said(lines)

    def end(self, grace: float = END_SECONDS) -> None:
        """End it with all that runs on it."""
        self._tree.end(grace)
        self._folder.cleanup()
