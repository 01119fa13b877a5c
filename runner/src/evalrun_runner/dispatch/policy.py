"""Numbers of the dispatch policy, and the types that it exchanges with the driver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Every number that the dispatcher's decisions depend on. Times are in seconds."""

    drawn_order: bool = False
    """Whether chunks are leased in the drawn order of their items, which a look at a part of the run needs, instead of
    the most expensive ones first."""
    classes_per_doubling: int = 2
    """Number of cost classes per doubling: costs within a factor of 2^(1/this) count as equal."""
    similar_classes: int = 1
    """Number of classes below the most expensive pending one in which a replica keeps its own task (prefix cache)."""
    fair_share: float = 1.0
    """Multiple of its share, by speed, of all remaining work that a replica may hold."""
    speed_half_life_s: float = 60.0
    """Time after which an observation of a replica's speed counts half."""
    max_copies: int = 2
    """Maximum number of replicas that hold the same chunk at once; 1 turns hedging off."""
    hedge_gain: float = 1.2
    """Ratio of the original's expected remaining time to the copy's time above which a chunk is copied."""
    hedge_blind_s: float = 30.0
    """Age at which a lease is copied while no speed is known, before the first commit."""
    silence_s: float = 60.0
    """Time without a report after which a replica is killed."""
    progress_s: float = 180.0
    """Time without a token of progress after which a replica with requests in its engine is killed."""
    kill_repeat_s: float = 10.0
    """Time after which a kill order is repeated while the replica has not left."""
    max_chunk_deaths: int = 5
    """Number of unexplained engine deaths (no item announced) per chunk that the run tolerates."""
    max_failed_items: int = 0
    """Maximum number of failed and quarantined items; the driver decides what follows if it is exceeded."""
    hopeless_items: int = 50
    """Number of failed and quarantined items from which a run over its maximum is given up if most items fail."""
    rate_window_s: float = 60.0
    """Window over which items/s, tokens/s and the remaining time are measured."""


class Departure(StrEnum):
    """Why a replica departed. Only the first two causes make the chunks that it held suspects."""

    CRASHED = "crashed"
    """Its engine or its process died."""
    KILLED_HUNG = "killed-hung"
    """It was killed because it was silent or made no progress."""
    DRAINED = "drained"
    """It was asked to leave."""
    LOST = "lost"
    """Its node failed or was preempted, which no item can cause."""

    @property
    def suspicious(self) -> bool:
        """Whether an item may be the cause."""
        return self in (Departure.CRASHED, Departure.KILLED_HUNG)


@dataclass(frozen=True, slots=True)
class KillOrder:
    """Replica to kill, and the cause to ``leave`` with afterwards."""

    replica: str
    cause: Departure
    reason: str
    """Reason in words for people."""
