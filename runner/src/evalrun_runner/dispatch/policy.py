"""The numbers of the dispatch policy, and the words it speaks with the driver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Every number that the dispatcher decides by. Times are seconds."""

    classes_per_doubling: int = 2
    """Cost classes: chunks whose costs differ by less than a factor of 2^(1/this) count as equally costly."""
    similar_classes: int = 1
    """How many classes below the costliest pending one a replica may stay with its own task (its prefix cache)."""
    fair_share: float = 1.0
    """A replica holds at most this times its share, by speed, of all the work that is left."""
    speed_half_life_s: float = 60.0
    """After how long an observation of a replica's speed counts half."""
    max_copies: int = 2
    """How many replicas may hold the same chunk at once; 1 turns hedging off."""
    hedge_gain: float = 1.2
    """A chunk is copied if the original is expected to need more than this times what the copy would need."""
    hedge_blind_s: float = 30.0
    """Before anything was committed no speed is known: a lease is copied when it is as old as this."""
    silence_s: float = 60.0
    """A replica that has not reported for this long is to be killed."""
    progress_s: float = 180.0
    """A replica with requests in its engine and no token of progress for this long is to be killed."""
    kill_repeat_s: float = 10.0
    """A kill order is repeated after this, while the replica has not left."""
    max_chunk_deaths: int = 5
    """How many unexplained engine deaths (no item announced) a chunk may see before the run gives up."""
    max_failed_items: int = 0
    """More failed and quarantined items than this are over the cap; the driver decides what follows."""
    rate_window_s: float = 60.0
    """Over how long items/s, tokens/s and the time left are measured."""


class Departure(StrEnum):
    """Why a replica is gone. Only the first two cast suspicion on the chunks that it held."""

    CRASHED = "crashed"
    """Its engine or its process died."""
    KILLED_HUNG = "killed-hung"
    """It was killed because it was silent or made no progress."""
    DRAINED = "drained"
    """It was asked to leave."""
    LOST = "lost"
    """Its node is gone or was preempted: nobody's fault."""

    @property
    def suspicious(self) -> bool:
        """Whether an item may have caused it."""
        return self in (Departure.CRASHED, Departure.KILLED_HUNG)


@dataclass(frozen=True, slots=True)
class KillOrder:
    """A replica that is to be killed, and then to ``leave`` with ``cause``."""

    replica: str
    cause: Departure
    reason: str
    """For people."""
