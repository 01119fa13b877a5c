"""Chunks under suspicion: they were in flight on an engine that died, so they run alone until one item is found guilty.

An engine's death makes every chunk that it held a suspect. A suspect runs isolated: on a replica that holds nothing
else, item by item, each announced before it starts. If the engine dies again, the announced item is guilty and is
quarantined; the chunk runs on without it. Deaths that no announcement explains are counted, and too many of them end
the run: a dispatcher that cannot find the culprit must not feed it engines for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_runner.dispatch.policy import DispatchPolicy

WHY = "killed the engine twice, alone the second time"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """An item that must not be run again in this run."""

    chunk: tuple[str, int]
    row: int
    """Its row within the chunk."""
    why: str


class Suspects:
    """The suspects that wait, and the replicas that run them or drain in order to."""

    def __init__(self, policy: DispatchPolicy) -> None:
        self._policy = policy
        self._waiting: dict[int, None] = {}
        self._deaths: dict[int, int] = {}
        self._quarantined: dict[int, dict[int, str]] = {}
        self._reserved: set[str] = set()
        self._isolating: set[str] = set()

    def accuse(self, index: int) -> bool:
        """Count an unexplained death; returns False when the chunk has seen too many of them."""
        self._deaths[index] = self._deaths.get(index, 0) + 1
        return self._deaths[index] <= self._policy.max_chunk_deaths

    def quarantine(self, index: int, row: int) -> bool:
        """Find an item guilty; returns False if it was before."""
        rows = self._quarantined.setdefault(index, {})
        if row in rows:
            return False
        rows[row] = WHY
        return True

    def is_suspect(self, index: int) -> bool:
        """Whether the chunk must run isolated."""
        return index in self._deaths

    def deaths(self, index: int) -> int:
        """How many unexplained deaths the chunk has seen."""
        return self._deaths.get(index, 0)

    def rows(self, index: int) -> dict[int, str]:
        """The chunk's items that must not run again: row -> why."""
        return dict(self._quarantined.get(index, {}))

    def acquit(self, index: int) -> None:
        """The chunk is committed: nothing is held against it any more."""
        self._waiting.pop(index, None)
        self._deaths.pop(index, None)
        self._quarantined.pop(index, None)

    def wait(self, index: int) -> None:
        """The chunk waits for a replica that runs it alone."""
        self._waiting[index] = None

    def next(self) -> int | None:
        """The suspect that has waited longest."""
        return next(iter(self._waiting), None)

    def start(self, index: int, replica: str) -> None:
        """A replica runs this suspect, and nothing else."""
        del self._waiting[index]
        self._reserved.discard(replica)
        self._isolating.add(replica)

    def stop(self, replica: str) -> None:
        """The replica is free for normal work, or gone."""
        self._reserved.discard(replica)
        self._isolating.discard(replica)

    def isolates(self, replica: str) -> bool:
        """Whether the replica runs a suspect now."""
        return replica in self._isolating

    def may_start(self, replica: str, *, replicas: int, normal_work: bool) -> bool:
        """Whether a replica that holds nothing is to run a suspect now.

        While there is normal work, at least one of two or more replicas goes on with it.
        """
        ready = bool(self._waiting) and len(self._isolating) < self._places(replicas, normal_work)
        if not ready:
            self._reserved.discard(replica)
        return ready

    def reserve(self, replica: str, *, replicas: int, normal_work: bool) -> bool:
        """Whether a replica that holds normal work is to take no more of it, so that it can run a suspect soon."""
        others = len(self._reserved - {replica})
        wanted = others < len(self._waiting)
        if wanted and others + len(self._isolating) < self._places(replicas, normal_work):
            self._reserved.add(replica)
            return True
        self._reserved.discard(replica)
        return False

    @staticmethod
    def _places(replicas: int, normal_work: bool) -> int:
        return replicas - 1 if normal_work and replicas > 1 else replicas
