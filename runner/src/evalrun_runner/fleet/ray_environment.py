"""What every Ray process of ours is started with, whoever starts it: the driver, the command line, a replica's pod."""

from __future__ import annotations

from collections.abc import Mapping

OBJECT_STORE_BYTES = 128 << 20
"""Results never pass through Ray's object store; the smallest that Ray accepts comfortably."""

RAY_ENVIRONMENT: Mapping[str, str] = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # The autoscaler's "No available node types": there is no autoscaler.
    "RAY_SCHEDULER_EVENTS": "0",
    # An actor that reserves no GPU sees all those of its pod or machine all the same.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Defaults: what the environment says already counts."""
