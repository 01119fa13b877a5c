"""Environment of a pod's process, read once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from evalrun_api.wire.pods import CONFIG_DIR, CONFIG_KEY, NO_HEAD_SECONDS, TERMINATION_LOG, Environment


@dataclass(frozen=True, slots=True)
class PodEnvironment:
    """Variables of ``evalrun_api.wire.pods.Environment``, with defaults for those that are not set."""

    pod: str
    """Name of the pod; by default, the host name."""
    address: str
    """Address of the pod; by default, what the host name resolves to."""
    head: str
    """Host name of the driver's Service; empty in the driver's own pod."""
    first_head_seconds: float
    """Seconds to wait for the first driver."""
    config: Path
    termination_log: Path

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the process's environment."""
        return cls(
            pod=environment.get(Environment.POD_NAME) or socket.gethostname(),
            address=environment.get(Environment.POD_IP) or _own_address(),
            head=environment.get(Environment.HEAD, ""),
            first_head_seconds=float(environment.get(Environment.FIRST_HEAD_SECONDS) or NO_HEAD_SECONDS),
            config=Path(environment.get(Environment.CONFIG) or f"{CONFIG_DIR}/{CONFIG_KEY}"),
            termination_log=Path(environment.get(Environment.TERMINATION_LOG) or TERMINATION_LOG),
        )


def _own_address() -> str:
    """Return the address that the host name resolves to, of whichever family the pod has."""
    return str(socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)[0][4][0])
