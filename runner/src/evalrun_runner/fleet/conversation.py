"""Messages between a driver and the process of a replica on the same machine, as pickles over one connection.

The driver sends ``Begin`` at once, ``Load`` when the preflight has passed, and then an ``Ask`` for each report. The
process answers ``Hello`` as soon as it runs, ``Loaded`` once, and a ``Report`` for each ``Ask``; ``Broken`` is its last
word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalrun_runner.engine.settings import EngineSettings
from evalrun_runner.errors import EvalRunError
from evalrun_runner.records.messages import Order, Report

if TYPE_CHECKING:
    from evalrun_runner.replica.settings import ReplicaSettings


@dataclass(frozen=True, slots=True)
class Begin:
    """Import what the engine needs; take no GPU and read no model."""

    engine: EngineSettings
    """Settings without the model, which is not known yet."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load the engine."""

    name: str
    """Name of the replica, unique among all replicas of all drivers of the run."""
    settings: ReplicaSettings


@dataclass(frozen=True, slots=True)
class Ask:
    """Take an order, and report within ``wait`` seconds."""

    order: Order
    wait: float


@dataclass(frozen=True, slots=True)
class Hello:
    """The process runs: it has imported this package."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engine is loaded."""

    facts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Broken:
    """The replica cannot go on, and its process ends."""

    error: EvalRunError
    final: bool
    """Whether another process would break in the same way."""


Answer = Hello | Loaded | Report | Broken
