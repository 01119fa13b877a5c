"""Common settings of all Ray processes, whether the driver, the command line or a replica's pod starts them."""

from __future__ import annotations

from collections.abc import Mapping

OBJECT_STORE_BYTES = 128 << 20
"""Size of Ray's object store: small, because results never pass through it, but enough for Ray to work well."""

RAY_ENVIRONMENT: Mapping[str, str] = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Suppresses "No available node types", a message of the autoscaler, which does not exist here.
    "RAY_SCHEDULER_EVENTS": "0",
    # Lets an actor that reserves no GPU see all GPUs of its pod or machine.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Default environment variables; existing variables take precedence."""
RAY_FIXED: Mapping[str, str] = {
    # Ray looks for `uv run` among its ancestors, and would then start its workers by `uv run` in the working directory,
    # in an environment without Ray, again and again. Replicas run in the driver's environment, whoever starts it.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""Environment variables that take precedence over existing ones."""
