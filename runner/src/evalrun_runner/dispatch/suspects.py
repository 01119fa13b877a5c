"""Suspect chunks, which were in flight on an engine that died and therefore run alone until an item is found guilty.

An engine's death makes every chunk that it held a suspect. A suspect runs isolated: on a replica that holds nothing
else, item by item, each announced before it starts. If the engine dies again, the announced item is guilty and is
quarantined, and the chunk continues without it. Deaths without an announced item are counted, and too many of them end
the run: a dispatcher that cannot find the cause must not sacrifice engines forever.
"""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_runner.dispatch.policy import DispatchPolicy

WHY = "killed the engine twice, alone the second time"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Item that must not run again in this run."""

    chunk: tuple[str, int]
    row: int
    """Row within the chunk."""
    why: str


class Suspects:
    """Waiting suspects, and the replicas that run a suspect or finish their other work to do so."""

    def __init__(self, policy: DispatchPolicy) -> None:
        self._policy = policy
        self._waiting: dict[int, None] = {}
        self._deaths: dict[int, int] = {}
        self._quarantined: dict[int, dict[int, str]] = {}
        self._reserved: set[str] = set()
        self._isolating: set[str] = set()

    def accuse(self, index: int) -> bool:
        """Count an unexplained death, and return False if the chunk has had too many of them."""
        self._deaths[index] = self._deaths.get(index, 0) + 1
        return self._deaths[index] <= self._policy.max_chunk_deaths

    def quarantine(self, index: int, row: int) -> bool:
        """Quarantine an item, and return False if it already was."""
        rows = self._quarantined.setdefault(index, {})
        if row in rows:
            return False
        rows[row] = WHY
        return True

    def is_suspect(self, index: int) -> bool:
        """Return whether the chunk must run isolated."""
        return index in self._deaths

    def deaths(self, index: int) -> int:
        """Return the number of unexplained deaths with this chunk."""
        return self._deaths.get(index, 0)

    def rows(self, index: int) -> dict[int, str]:
        """Return the chunk's quarantined items, as a map from row to reason."""
        return dict(self._quarantined.get(index, {}))

    def acquit(self, index: int) -> None:
        """Clear a committed chunk of suspicion."""
        self._waiting.pop(index, None)
        self._deaths.pop(index, None)
        self._quarantined.pop(index, None)

    def wait(self, index: int) -> None:
        """Let the chunk wait for a replica that runs it alone."""
        self._waiting[index] = None

    def next(self) -> int | None:
        """Return the suspect that has waited longest."""
        return next(iter(self._waiting), None)

    def start(self, index: int, replica: str) -> None:
        """Record that a replica runs this suspect and nothing else."""
        del self._waiting[index]
        self._reserved.discard(replica)
        self._isolating.add(replica)

    def stop(self, replica: str) -> None:
        """Record that the replica is free for normal work, or departed."""
        self._reserved.discard(replica)
        self._isolating.discard(replica)

    def isolates(self, replica: str) -> bool:
        """Return whether the replica runs a suspect now."""
        return replica in self._isolating

    def may_start(self, replica: str, *, replicas: int, normal_work: bool) -> bool:
        """Return whether a replica without leases should run a suspect now.

        While there is normal work, at least one of two or more replicas continues with it.
        """
        ready = bool(self._waiting) and len(self._isolating) < self._slots(replicas, normal_work)
        if not ready:
            self._reserved.discard(replica)
        return ready

    def reserve(self, replica: str, *, replicas: int, normal_work: bool) -> bool:
        """Return whether a replica with normal work should take no more of it, so that it can run a suspect soon."""
        others = len(self._reserved - {replica})
        wanted = others < len(self._waiting)
        if wanted and others + len(self._isolating) < self._slots(replicas, normal_work):
            self._reserved.add(replica)
            return True
        self._reserved.discard(replica)
        return False

    @staticmethod
    def _slots(replicas: int, normal_work: bool) -> int:
        return replicas - 1 if normal_work and replicas > 1 else replicas
