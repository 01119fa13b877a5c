"""Start of Ray, or connection to a running cluster."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from dataclasses import dataclass
from typing import Any

from evalrun_runner.errors import InputError, RunFailed, first_line
from evalrun_runner.fleet.ray_environment import OBJECT_STORE_BYTES, RAY_ENVIRONMENT

START_TRIES = 3
"""Number of attempts to start Ray, whose helpers may miss Ray's fixed limit of 15 s on a busy machine."""


@dataclass(frozen=True, slots=True)
class RaySettings:
    """Settings of Ray."""

    address: str | None = None
    """Address of a running cluster; None starts a Ray of this process's own."""
    gpus_per_replica: int = 0


def start_ray(settings: RaySettings, count: int) -> Any:
    """Start a Ray of this process's own, or connect to a cluster.

    Args:
        settings: Address of the cluster, GPUs of a replica.
        count: Number of replicas for which this machine must have GPUs; in a cluster it is not checked.

    Returns:
        The module ``ray``, connected.

    Raises:
        InputError: The machine has too few GPUs.
        RunFailed: Ray could not be started.
    """
    ray = _import_ray()
    local = settings.address is None
    options: dict[str, Any] = {"address": "local" if local else settings.address}
    if local:
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for tries_left in reversed(range(START_TRIES)):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **options)
            if local:
                _check_gpus(ray, settings.gpus_per_replica, count)
            return ray
        except InputError:
            raise
        # Ray's start raises bare Exceptions, so nothing narrower can be caught.
        except Exception as error:
            ray.shutdown()
            if not tries_left:
                where = "on this machine" if local else f"at {settings.address}"
                raise RunFailed(f"Ray could not be started {where}: {first_line(error)}") from error
        finally:
            # Ray replaces the SIGTERM handler with its own, which would end the driver without a flush.
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)
    raise AssertionError("the last try returns or raises")


def _check_gpus(ray: Any, gpus_per_replica: int, count: int) -> None:
    """Check that this machine has enough GPUs: an actor that asks for more would wait forever."""
    wanted, there = count * gpus_per_replica, ray.cluster_resources().get("GPU", 0)
    if wanted > there:
        ray.shutdown()
        raise InputError(
            f"spec.replicas.count {count} with tensorParallelSize {gpus_per_replica} "
            f"needs {wanted} GPUs, this machine has {there:g}; set fewer replicas or a smaller tensorParallelSize"
        )


def _import_ray() -> Any:
    # A token protects every port of this Ray; it must be in the environment before ray is imported.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    return ray
