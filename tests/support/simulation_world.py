"""What the simulated run stands on: a clock with an event queue, the scenario that a seed draws, and the ledger."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Protocol

from evalrun_api.wire.outputs import StopRecord
from evalrun_runner.errors import Superseded
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.manifest import chunk_digest
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts

ChunkId = tuple[str, int]
LOOKS = 3
"""Looks of a run that may stop early; at the last one it ends anyhow."""


class InvariantBroken(AssertionError):
    """The run did what it must never do."""


def item_hash(chunk: ChunkId, row: int) -> str:
    """The hash of an item, for the digest of its chunk."""
    return f"{chunk[0]}/{chunk[1]}/{row}"


# Thousands of seeds name the same few chunks.


@cache
def digest_of(task: str, number: int, items: int) -> str:
    """The digest of a chunk."""
    return chunk_digest(item_hash((task, number), row) for row in range(items))


part_key = cache(layout.part)
parse_part = cache(layout.parse_part)


class Poison(StrEnum):
    """What an item does to the engine that runs it, each time."""

    CRASH = "crash"
    HANG = "hang"
    """The engine makes no progress; the replica goes on reporting."""
    FREEZE = "freeze"
    """The whole process stands still."""


class FaultKind(StrEnum):
    """What strikes at random times."""

    CRASH_REPLICA = "crash-replica"
    LOSE_REPLICA = "lose-replica"
    PARTITION_REPLICA = "partition-replica"
    HANG_REPLICA = "hang-replica"
    DRAIN_REPLICA = "drain-replica"
    ADD_REPLICA = "add-replica"
    """A replica is added, or the next ones crash before they are ready."""
    KILL_DRIVER = "kill-driver"
    """It dies at once, or is asked to stop and commits first what is complete."""
    SECOND_DRIVER = "second-driver"


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a seed decides before the start. Times are virtual seconds."""

    by_id: Mapping[ChunkId, Chunk]
    """The chunks by (task, number), in canonical order."""
    poison: Mapping[ChunkId, Mapping[int, Poison]]
    failing: Mapping[ChunkId, frozenset[int]]
    speeds: tuple[float, ...]
    """Cost per second of the replicas at the start."""
    faults: tuple[tuple[float, FaultKind], ...]
    torn_writes: int
    """How many parts are written damaged, at most."""
    latency_s: float
    stop_at: int | None
    """Look at which the run stops early; None: it evaluates everything, in the order of cost."""

    def counts(self, chunk: ChunkId) -> ItemCounts:
        """How the items of a chunk must end."""
        items = self.by_id[chunk].items
        poison, failing = len(self.poison.get(chunk, {})), len(self.failing.get(chunk, ()))
        return ItemCounts(items - poison - failing, failing, poison)


def draw(rng: random.Random) -> Scenario:
    """A small scenario: 3 to 27 chunks, 1 to 5 replicas, a few poison items, up to 8 faults in the first 30 s."""
    chunks: list[Chunk] = []
    for task in range(rng.choice((1, 1, 2, 3))):
        for number in range(rng.randint(3, 9)):
            items = rng.randint(1, 8)
            digest = digest_of(f"task{task}", number, items)
            chunks.append(Chunk(f"task{task}", number, 0, 8 * number, items, items * rng.uniform(5, 20), digest))
    poison: dict[ChunkId, dict[int, Poison]] = {}
    failing: dict[ChunkId, frozenset[int]] = {}
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        victim = rng.choice(chunks)
        poison.setdefault(victim.id, {})[rng.randrange(victim.items)] = rng.choice(tuple(Poison))
    for _ in range(rng.randint(0, 3)):
        victim = rng.choice(chunks)
        row = rng.randrange(victim.items)
        if row not in poison.get(victim.id, {}):
            failing[victim.id] = frozenset({row})
    faults = sorted(
        (rng.uniform(0, 30), rng.choice(tuple(FaultKind))) for _ in range(rng.choice((0, 1, 1, 2, 3, 4, 5, 8)))
    )
    return Scenario(
        by_id={chunk.id: chunk for chunk in chunks},
        poison=poison,
        failing=failing,
        speeds=tuple(50 * rng.choice((1.0, 1.0, 0.7, 0.2)) for _ in range(rng.randint(1, 5))),
        faults=tuple(faults),
        torn_writes=rng.choice((0, 0, 0, 1, 2)),
        latency_s=rng.choice((0.001, 0.02, 0.3)),
        # Drawn aside: seeds that do not stop early play as they always did.
        stop_at=random.Random(repr(faults)).choice((None, None, None, None, 1, 2, LOOKS)),
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A committed chunk as the ledger reads it."""

    counts: ItemCounts
    digest: str
    sound: bool = True
    """False where its checksum fails."""


class Ledger(Protocol):
    """What the simulated driver and replicas need of the ledger."""

    def claim_epoch(self) -> int: ...

    def highest_epoch(self) -> int: ...

    def commit(self, chunk: Chunk, part: Part) -> Part | None:
        """Create the part; returns None if this call created it, else the part that was there first."""

    def parts(self) -> Iterator[tuple[ChunkId, Part]]: ...

    def set_aside(self, chunk: ChunkId) -> None: ...

    def recorded_stop(self) -> StopRecord | None: ...

    def record_stop(self, epoch: int, record: StopRecord) -> StopRecord:
        """Create the record of the early stop; returns the one that was first."""

    def complete(self, epoch: int) -> bool:
        """Create COMPLETE; returns whether this call did."""

    def completed_by(self) -> int | None: ...


@dataclass
class MemoryLedger:
    """Objects under the run's real keys, created if absent: the semantics of the real stores, without Parquet."""

    objects: dict[str, Part | StopRecord | int] = field(default_factory=dict)
    epoch: int = 0
    """The highest one."""

    def create(self, key: str, value: Part | StopRecord | int) -> bool:
        """Create the object if the key is free."""
        if key in self.objects:
            return False
        self.objects[key] = value
        return True

    def claim_epoch(self) -> int:
        self.epoch += 1
        assert self.create(layout.epoch(self.epoch), self.epoch)
        return self.epoch

    def highest_epoch(self) -> int:
        return self.epoch

    def commit(self, chunk: Chunk, part: Part) -> Part | None:
        key = part_key(*chunk.id)
        if self.create(key, part):
            return None
        there = self.objects[key]
        assert isinstance(there, Part)
        return there

    def parts(self) -> Iterator[tuple[ChunkId, Part]]:
        for key, value in self.objects.items():
            chunk = parse_part(key)
            if chunk is not None and isinstance(value, Part):
                yield chunk, value

    def set_aside(self, chunk: ChunkId) -> None:
        part = self.objects.pop(part_key(*chunk))
        self.objects[f"{layout.CORRUPT}{len(self.objects)}"] = part

    def recorded_stop(self) -> StopRecord | None:
        record = self.objects.get(layout.STOPPED)
        assert record is None or isinstance(record, StopRecord)
        return record

    def record_stop(self, epoch: int, record: StopRecord) -> StopRecord:
        if epoch < self.epoch:
            raise Superseded(f"epoch {epoch} is not the highest")
        self.create(layout.STOPPED, record)
        return self.recorded_stop() or record

    def complete(self, epoch: int) -> bool:
        return self.create(layout.COMPLETE, epoch)

    def completed_by(self) -> int | None:
        epoch = self.objects.get(layout.COMPLETE)
        assert epoch is None or isinstance(epoch, int)
        return epoch


class Clock:
    """Virtual time: events run in the order of their times, then of their making."""

    def __init__(self, limit_s: float) -> None:
        self.now = 0.0
        self.events = 0
        self._limit = limit_s
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0

    def __call__(self) -> float:
        return self.now

    def after(self, delay: float, event: Callable[[], None]) -> None:
        """Run ``event`` in ``delay`` seconds."""
        self._made += 1
        heapq.heappush(self._queue, (self.now + delay, self._made, event))

    def run(self) -> None:
        """Run all events. Raises ``InvariantBroken`` if they do not end in time."""
        while self._queue:
            self.now, _, event = heapq.heappop(self._queue)
            if self.now > self._limit:
                raise InvariantBroken(f"termination: not over after {self._limit:.0f} virtual seconds")
            self.events += 1
            event()
