"""Table of all chunks in compact columns, about 70 bytes per chunk, so that 10 million items fit in a small driver."""

from __future__ import annotations

from array import array
from enum import IntEnum

from evalrun_runner.errors import RunFailed
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts

_DIGEST_BYTES = 32


class State(IntEnum):
    """State of a chunk. Every chunk is in exactly one state."""

    PENDING = 0
    """In the queue of normal work."""
    SUSPECT = 1
    """Waiting for a replica that runs it alone."""
    LEASED = 2
    """Held by at least one replica."""
    COMMITTED = 3
    """Committed by this driver's replicas."""
    KEPT = 4
    """Committed before this driver started."""
    SKIPPED = 5
    """Not evaluated, or not counted: the run stopped early before it."""


OPEN = (State.PENDING, State.SUSPECT, State.LEASED)
"""States of chunks that are not committed."""


class ChunkTable:
    """Chunks by index (in order of addition), with incrementally updated totals by state."""

    def __init__(self) -> None:
        self._tasks: list[str] = []
        self._task_numbers: dict[str, int] = {}
        self._rows: list[array[int]] = []
        """Per task: array from chunk number to index, -1 for unknown numbers."""
        self._task = array("I")
        self._number = array("I")
        self._segment = array("I")
        self._first_row = array("I")
        self._items = array("I")
        self._cost = array("d")
        self._digest = bytearray()
        self._odd_digests: dict[int, str] = {}
        self._state = bytearray()
        self._unlike: dict[int, ItemCounts] = {}
        """Map from index to the counts of committed chunks of which not every item is ok with a complete answer."""
        self._chunks_in = [0] * len(State)
        self._items_in = [0] * len(State)
        self._cost_in = [0.0] * len(State)

    def __len__(self) -> int:
        return len(self._state)

    def add(self, chunk: Chunk, state: State) -> int:
        """Append a chunk and return its index.

        Raises:
            RunFailed: The chunk was added before.
        """
        task = self._task_numbers.get(chunk.task)
        if task is None:
            task = self._task_numbers[chunk.task] = len(self._tasks)
            self._tasks.append(chunk.task)
            self._rows.append(array("i"))
        rows = self._rows[task]
        if chunk.number >= len(rows):
            rows.extend([-1] * (chunk.number + 1 - len(rows)))
        if rows[chunk.number] >= 0:
            raise RunFailed(
                f"chunk {chunk.number} of task {chunk.task!r} was planned twice; every chunk is planned once"
            )
        index = rows[chunk.number] = len(self._state)
        self._task.append(task)
        self._number.append(chunk.number)
        self._segment.append(chunk.segment)
        self._first_row.append(chunk.first_row)
        self._items.append(chunk.items)
        self._cost.append(chunk.cost)
        self._append_digest(index, chunk.digest)
        self._state.append(state)
        self._count(index, state, 1)
        return index

    def find(self, chunk_id: tuple[str, int]) -> int | None:
        """Return the index of (task, number), or None if it was not planned."""
        task = self._task_numbers.get(chunk_id[0])
        if task is None or not 0 <= chunk_id[1] < len(self._rows[task]):
            return None
        index = self._rows[task][chunk_id[1]]
        return index if index >= 0 else None

    def chunk(self, index: int) -> Chunk:
        """Return the chunk as it was added."""
        digest = self._odd_digests.get(index)
        if digest is None:
            digest = self._digest[index * _DIGEST_BYTES : (index + 1) * _DIGEST_BYTES].hex()
        return Chunk(
            task=self._tasks[self._task[index]],
            number=self._number[index],
            segment=self._segment[index],
            first_row=self._first_row[index],
            items=self._items[index],
            cost=self._cost[index],
            digest=digest,
        )

    def id(self, index: int) -> tuple[str, int]:
        """Return (task, number) of a chunk."""
        return (self._tasks[self._task[index]], self._number[index])

    def task(self, index: int) -> int:
        """Return the number of the chunk's leaf task, in order of addition."""
        return self._task[index]

    def items(self, index: int) -> int:
        """Return the number of the chunk's items."""
        return self._items[index]

    def cost(self, index: int) -> float:
        """Return the chunk's estimated work in tokens."""
        return self._cost[index]

    def state(self, index: int) -> State:
        """Return the chunk's state."""
        return State(self._state[index])

    def is_pending(self, index: int) -> bool:
        """Return whether the chunk is in the queue of normal work; the queue checks this for each of its entries."""
        return self._state[index] == 0

    def move(self, index: int, state: State) -> None:
        """Change the state of a chunk."""
        self._count(index, State(self._state[index]), -1)
        self._state[index] = state
        self._count(index, state, 1)

    def settle(self, index: int, counts: ItemCounts) -> None:
        """Record how the items of a committed chunk ended.

        Raises:
            RunFailed: The counts do not cover all items.
        """
        if counts.total != self._items[index]:
            task, number = self.id(index)
            raise RunFailed(
                f"the part of chunk {number} of task {task!r} holds {counts.total} results for {self._items[index]} "
                "items; every item has exactly one. Set the part aside and run the chunk again"
            )
        if counts.complete != counts.total:
            self._unlike[index] = counts

    def unsettle(self, index: int) -> ItemCounts:
        """Remove and return the record of how the items of a chunk ended."""
        return self._unlike.pop(index, None) or ItemCounts(ok=self._items[index])

    @property
    def any_open(self) -> bool:
        """Whether any chunk is not committed."""
        pending, suspect, leased, *_ = self._chunks_in
        return bool(pending or suspect or leased)

    def chunks_in(self, *states: State) -> int:
        """Return the number of chunks in these states."""
        return sum(self._chunks_in[state] for state in states)

    def items_in(self, *states: State) -> int:
        """Return the number of items of the chunks in these states."""
        return sum(self._items_in[state] for state in states)

    def cost_in(self, *states: State) -> float:
        """Return the estimated work, in tokens, of the chunks in these states."""
        return sum(self._cost_in[state] for state in states)

    def _count(self, index: int, state: State, sign: int) -> None:
        self._chunks_in[state] += sign
        self._items_in[state] += sign * self._items[index]
        # Adding and subtracting floats leaves a residue, so set the cost of an empty state to exactly 0.
        self._cost_in[state] = self._cost_in[state] + sign * self._cost[index] if self._chunks_in[state] else 0.0

    def _append_digest(self, index: int, digest: str) -> None:
        raw = bytes.fromhex(digest) if len(digest) == 2 * _DIGEST_BYTES and _is_lower_hex(digest) else b""
        if not raw:
            self._odd_digests[index] = digest
        self._digest += raw or bytes(_DIGEST_BYTES)


def _is_lower_hex(text: str) -> bool:
    return not text.strip("0123456789abcdef")
