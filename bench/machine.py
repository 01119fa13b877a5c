"""Machine and software of a run of the bench."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata

from evalrun_runner.driver.record import PACKAGES
from evalrun_runner.machine import hardware

QUIET_LOAD = 1.0
"""Load of other processes above which the bench's numbers are doubtful."""


def surroundings(model: str, data: str) -> dict[str, str]:
    """Describe machine, versions and date; ``data`` describes the workloads."""
    machine = hardware()
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{machine['cpus']} cores of {machine['cpu']}, {machine['memoryBytes'] / 1e9:.0f} GB, "
        f"GPUs: {', '.join(machine['gpus']) or 'none'}",
        "software": f"Python {platform.python_version()}, {', '.join(versions)}",
        "model": model,
        "workloads": data,
        "load before the run": " ".join(f"{load:.2f}" for load in os.getloadavg()) + " (1, 5, 15 minutes)",
    }


def load_warnings() -> list[str]:
    """Return reasons why measurements on this machine are doubtful now."""
    load = os.getloadavg()[0]
    if load <= QUIET_LOAD:
        return []
    return [f"the machine was busy when this run began (load {load:.2f}): the spread is its own and that of others"]
