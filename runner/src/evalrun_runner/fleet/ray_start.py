"""Connection to the Ray of a cluster."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from evalrun_runner.errors import RunFailed, first_line
from evalrun_runner.fleet.ray_environment import RAY_ENVIRONMENT, RAY_FIXED

CONNECT_TRIES = 3
"""Number of attempts to connect to Ray, whose helpers may miss its fixed limit of 15 s on a busy machine."""


def connect_ray(address: str) -> Any:
    """Connect to a running cluster.

    Args:
        address: Address of Ray's head.

    Returns:
        The module ``ray``, connected.

    Raises:
        RunFailed: Ray could not be connected to.
    """
    ray = _import_ray()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for tries_left in reversed(range(CONNECT_TRIES)):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            return ray
        # Ray's start raises bare Exceptions, so nothing narrower can be caught.
        except Exception as error:
            ray.shutdown()
            if not tries_left:
                raise RunFailed(f"Ray at {address} cannot be connected to: {first_line(error)}") from error
        finally:
            # Ray replaces the SIGTERM handler with its own, which would end the driver without a flush.
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)
    raise AssertionError("the last try returns or raises")


def _import_ray() -> Any:
    # Ray reads its variables when it is imported.
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.update(RAY_FIXED)
    import ray

    return ray
