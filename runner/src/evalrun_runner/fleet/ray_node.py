"""Ray node of a pod: the command lines of head and replica nodes, and the node as a child process."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from evalrun_api.addresses import join_host_port
from evalrun_api.wire.pods import RAY_PORT, RAY_PORTS
from evalrun_runner.fleet.draining import VARIABLE, DrainFolder
from evalrun_runner.fleet.processes import Tree
from evalrun_runner.fleet.ray_environment import OBJECT_STORE_BYTES, RAY_ENVIRONMENT, RAY_FIXED

STARTED = "Ray runtime started"
"""Output of ``ray start`` once its node is part of the cluster."""
END_SECONDS = 5.0
"""Seconds for a node to sign off from the head before its processes are killed."""


def head_command(address: str) -> list[str]:
    """Return the ``ray start`` command for the driver's pod, in which no replica runs."""
    return [
        *_start(address),
        "--head",
        f"--port={RAY_PORT}",
        "--num-cpus=0",
        "--include-dashboard=false",
        "--no-monitor",  # the autoscaler's monitor
    ]


def replica_command(address: str, head: str) -> list[str]:
    """Return the ``ray start`` command for a replica's pod. Ray counts no GPUs there: the replica has them all."""
    return [
        *_start(address),
        f"--address={join_host_port(head, RAY_PORT)}",
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
    """Ray node of this pod."""

    def __init__(self, command: list[str], environment: Mapping[str, str] = os.environ, *, alone: bool) -> None:
        """Start the node; ``started`` tells when it has joined its cluster.

        Args:
            command: The ``ray start`` command.
            environment: The environment, which takes precedence over the defaults for Ray.
            alone: Whether this process has no other children.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="evalrun-ray-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self.draining = DrainFolder(folder)
        whole = {
            **RAY_ENVIRONMENT,
            # The replica drains by itself: Ray's own draining would kill it when its lease on the node ends.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            **environment,
            **RAY_FIXED,
            VARIABLE: str(folder),
        }
        self._tree = Tree(command, whole, folder / "ray.log", alone=alone)

    @property
    def started(self) -> bool:
        """Whether the node is part of its cluster."""
        return STARTED in self.output(200)

    @property
    def exit_code(self) -> int | None:
        """Exit code of ``ray start``, None while it runs. Poll it: reading it also reaps children (see ``Tree``)."""
        return self._tree.exit_code

    def output(self, lines: int = 12) -> str:
        """Return the last lines of the output of ``ray start``."""
        return self._tree.output(lines)

    def end(self, grace: float = END_SECONDS) -> None:
        """End the node and everything that runs on it."""
        self._tree.end(grace)
        self._folder.cleanup()
