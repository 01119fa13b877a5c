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
