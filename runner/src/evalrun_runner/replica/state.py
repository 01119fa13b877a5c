"""What a replica decides: events in, actions out. It reads in the order of a lease's life.

A lease is received with an order, opened (its items are read), run, committed (scored and written), and then reported.
It ends once: committed, cancelled by the driver, or returned with the last report of a replica that drains.

An isolated lease runs its items one by one. An item is announced in a report, and starts when the next order arrives:
then the driver has heard, and can blame the item if the engine dies. Nothing is announced while the engine holds
anything else: an engine that hangs with a cancelled lease must not be blamed on the item that waits behind it.

Pure: no threads, no clock, no I/O. ``now`` is seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from evalrun_runner.errors import EvalRunError
from evalrun_runner.records.messages import Committed, Lease, Order, Report, Telemetry


@dataclass(frozen=True, slots=True)
class ReplicaPolicy:
    """Every number that a replica decides by."""

    spool_chunks: int = 8
    """Completed chunks that may wait for the store before the replica takes no more work."""
    backlog_items: int = 64
    """Items held beyond a full batch, so that the engine never waits for the driver: about one chunk."""
    hungry_items: int = 32
    """Wanted items that are worth a report of their own."""
    flush_s: float = 20.0
    """Seconds for committing what is complete when told to leave."""
    leave_s: float = 25.0
    """Seconds after which a leaving replica reports, whatever its commits do; more than ``flush_s``."""


# -- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineLoaded:
    """The engine is ready."""

    max_num_seqs: int
    """Requests that it batches at once."""


@dataclass(frozen=True, slots=True)
class OrderReceived:
    """The driver called; the answer is the next report."""

    order: Order
    wait: float
    """Seconds after which it is answered even without news."""


@dataclass(frozen=True, slots=True)
class ChunkOpened:
    """A lease's items were read."""

    lease: int
    rows: tuple[int, ...]
    """Those to run, in order; the others have their outcome already."""


@dataclass(frozen=True, slots=True)
class ItemsEnded:
    """Items have their outcome, whatever it is."""

    items: tuple[tuple[int, int], ...]
    """(lease, row)"""


@dataclass(frozen=True, slots=True)
class ChunkDropped:
    """Nothing of a cancelled lease is in the engine any more."""

    lease: int


@dataclass(frozen=True, slots=True)
class ChunkCommitted:
    """A completed chunk is in the store."""

    committed: Committed


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The replica's machine asks it to leave."""


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """Nothing runs any more, and what was complete is committed, or its time is over."""


@dataclass(frozen=True, slots=True)
class ReplicaFailed:
    """Something broke that this replica cannot mend."""

    error: EvalRunError


Event = (
    EngineLoaded
    | OrderReceived
    | ChunkOpened
    | ItemsEnded
    | ChunkDropped
    | ChunkCommitted
    | DrainRequested
    | EngineStopped
    | ReplicaFailed
)


# -- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """Read the lease's items; comes back as ``ChunkOpened``."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class RunItems:
    """Give these items of an opened chunk to the engine; they come back as ``ItemsEnded``."""

    lease: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DropChunk:
    """Abort and forget a lease's items, before anything that follows is started; comes back as ``ChunkDropped``."""

    lease: int


@dataclass(frozen=True, slots=True)
class CommitChunk:
    """Score and write a chunk of which every item has its outcome; comes back as ``ChunkCommitted``."""

    lease: int


@dataclass(frozen=True, slots=True)
class StopEngine:
    """Open and run nothing more, finish the commits within ``flush_s``; comes back as ``EngineStopped``."""


Action = OpenChunk | RunItems | DropChunk | CommitChunk | StopEngine


# -- the state ---------------------------------------------------------------------------------------------------


class Stage(Enum):
    """Where a held lease stands."""

    OPENING = auto()
    RUNNING = auto()
    COMMITTING = auto()


class Announcement(Enum):
    """Where the next item of an isolated lease stands."""

    DUE = auto()
    """The next report announces it."""
    REPORTED = auto()
    """The report is on its way; the order that follows proves that the driver has heard."""
    CONFIRMED = auto()
    """The item runs."""


@dataclass(slots=True)
class _Held:
    """A lease that has not ended."""

    lease: Lease
    stage: Stage = Stage.OPENING
    rows: dict[int, None] = field(default_factory=dict)
    """Rows without an outcome, in order; of an isolated lease the first is the one that is announced."""
    announcement: Announcement = Announcement.DUE
    """Of an isolated lease only."""

    @property
    def items_left(self) -> int:
        """Items that have no outcome yet."""
        return self.lease.chunk.items if self.stage is Stage.OPENING else len(self.rows)

    @property
    def items_done(self) -> int:
        """Items that have an outcome."""
        return self.lease.chunk.items - self.items_left


@dataclass(frozen=True, slots=True)
class Vitals:
    """Signs of life that a report carries; nothing here depends on them."""

    tokens: int = 0
    steps: int = 0
    busy: bool = False
    degraded: str | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)


class ReplicaState:
    """A replica without its engine, its store and its threads."""

    def __init__(self, policy: ReplicaPolicy | None = None) -> None:
        self.policy = policy or ReplicaPolicy()
        self._held: dict[int, _Held] = {}
        self._isolated: set[int] = set()
        """Those of the held leases that are isolated."""
        self._dropping: dict[int, int] = {}
        """Cancelled leases of which items are in the engine still, and how many."""
        self._committed: list[Committed] = []
        """To be reported."""
        self._committing = 0
        """Chunks that wait for scoring and the store; those of cancelled leases too."""
        self._max_num_seqs = 0
        self._fed = False
        """The last order brought leases: there may be more."""
        self._report_by: float | None = None
        """When the driver's call is to be answered at the latest; None: it has not called."""
        self._leave_by: float | None = None
        """When a leaving replica reports at the latest; None: it stays."""
        self._draining = False
        """The machine asks it to leave, not the driver."""
        self._stopped = False
        self._failure: EvalRunError | None = None

    # -- what is asked of it -----------------------------------------------------------------------------------------

    @property
    def loaded(self) -> bool:
        """Whether the engine is ready."""
        return self._max_num_seqs > 0

    @property
    def max_num_seqs(self) -> int:
        """Requests that the engine batches at once; 0 before it is loaded."""
        return self._max_num_seqs

    @property
    def leaving(self) -> bool:
        """Whether nothing more is taken and nothing more run."""
        return self._leave_by is not None

    @property
    def stopped(self) -> bool:
        """Whether everything that could be committed is."""
        return self._stopped

    @property
    def failure(self) -> EvalRunError | None:
        """What broke; None too where it broke while leaving: what was held goes back or is not needed."""
        return None if self._draining else self._failure

    @property
    def held(self) -> tuple[int, ...]:
        """Ids of the leases that have not ended."""
        return tuple(self._held)

    @property
    def wants(self) -> int:
        """How many more items it would take now: its credit."""
        if not self.loaded or self.leaving or self._committing >= self.policy.spool_chunks:
            return 0
        if any(self._held[lease].stage is not Stage.COMMITTING for lease in self._isolated):
            return 0
        held = sum([one.items_left for one in self._held.values()], sum(self._dropping.values()))
        return max(0, self._max_num_seqs + self.policy.backlog_items - held)

    def due(self, now: float) -> bool:
        """Whether the driver's call is to be answered now, with ``report`` or by raising ``failure``."""
        if self._report_by is None:
            return False
        if self.failure is not None:
            return True
        if self.leaving:
            return self._stopped or now >= self.due_at
        return now >= self._report_by or self._has_news

    @property
    def due_at(self) -> float:
        """When the driver's call is due even if nothing happens; infinite without a call."""
        if self._report_by is None:
            return float("inf")
        return self._report_by if self._leave_by is None else self._leave_by

    @property
    def _has_news(self) -> bool:
        if self._committed or (self._fed and self.wants >= self.policy.hungry_items):
            return True
        suspect = self._suspect
        return suspect is not None and suspect.announcement is Announcement.DUE

    @property
    def _suspect(self) -> _Held | None:
        """The isolated lease that has the engine to itself; its next item is the first of its rows."""
        if not self._isolated or self._dropping:
            return None
        running = [one for one in self._held.values() if one.stage is Stage.RUNNING]
        return running[0] if running and all(one.lease.isolated for one in running) else None

    def report(self, vitals: Vitals) -> Report:
        """Answer the driver's call. The last report of a draining replica returns what it holds."""
        committed, self._committed = tuple(self._committed), []
        returned: tuple[int, ...] = ()
        if self._draining:
            returned = tuple(sorted(self._held))
            self._held.clear()
            self._isolated.clear()
        announced = None
        if (suspect := self._suspect) is not None:
            announced = (suspect.lease.id, next(iter(suspect.rows)))
            if suspect.announcement is Announcement.DUE:
                suspect.announcement = Announcement.REPORTED
        self._report_by = None
        return Report(
            committed=committed,
            returned=returned,
            answered=tuple((lease, one.items_done) for lease, one in self._held.items() if one.items_done),
            announced=announced,
            tokens=vitals.tokens,
            steps=vitals.steps,
            busy=vitals.busy,
            wants=self.wants,
            degraded=vitals.degraded,
            leaving=self._draining,
            telemetry=vitals.telemetry,
        )

    # -- what happens to it ------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> tuple[Action, ...]:
        """Take in what happened; returns what is to be done, in this order."""
        match event:
            case OrderReceived(order, wait):
                return tuple(self._take(order, now, wait))
            case ChunkOpened(lease, rows):
                return tuple(self._open(lease, rows))
            case ItemsEnded(items):
                return tuple(action for lease, row in items for action in self._end_item(lease, row))
            case ChunkDropped(lease):
                self._dropping.pop(lease, None)
            case ChunkCommitted(committed):
                self._committing -= 1
                self._end(committed.lease)
                self._committed.append(committed)
            case DrainRequested():
                self._draining = True
                return tuple(self._leave(now))
            case EngineLoaded(max_num_seqs):
                self._max_num_seqs = max_num_seqs
            case EngineStopped():
                self._stopped = True
            case ReplicaFailed(error):
                if not self.leaving:
                    self._failure = error
        return ()

    def _take(self, order: Order, now: float, wait: float) -> Iterator[Action]:
        self._report_by = now + wait
        self._fed = bool(order.leases)
        for lease_id in order.cancel:
            if (held := self._end(lease_id)) is not None:
                if held.stage is Stage.RUNNING:
                    self._dropping[lease_id] = held.items_left
                yield DropChunk(lease_id)
        # Any order that follows the announcement proves that the driver has heard.
        suspect = self._suspect
        if suspect is not None and suspect.announcement is Announcement.REPORTED and not self.leaving:
            suspect.announcement = Announcement.CONFIRMED
            yield RunItems(suspect.lease.id, (next(iter(suspect.rows)),))
        for lease in order.leases:
            self._held[lease.id] = _Held(lease)
            if lease.isolated:
                self._isolated.add(lease.id)
            if not self.leaving:
                yield OpenChunk(lease)
        if order.done:
            yield from self._leave(now)

    def _end(self, lease_id: int) -> _Held | None:
        """Strike out a lease that ends; None if it is not held."""
        self._isolated.discard(lease_id)
        return self._held.pop(lease_id, None)

    def _open(self, lease_id: int, rows: tuple[int, ...]) -> Iterator[Action]:
        held = self._held.get(lease_id)
        if held is None or self.leaving:
            yield DropChunk(lease_id)
            return
        held.stage = Stage.RUNNING
        held.rows = dict.fromkeys(rows)
        if not rows:
            yield self._commit(held)
        elif not held.lease.isolated:
            yield RunItems(lease_id, rows)

    def _end_item(self, lease_id: int, row: int) -> Iterator[Action]:
        held = self._held.get(lease_id)
        if held is None or held.stage is not Stage.RUNNING:
            return
        held.rows.pop(row, None)
        held.announcement = Announcement.DUE
        if not held.rows:
            yield self._commit(held)

    def _commit(self, held: _Held) -> CommitChunk:
        held.stage = Stage.COMMITTING
        self._committing += 1
        return CommitChunk(held.lease.id)

    def _leave(self, now: float) -> Iterator[Action]:
        if self._leave_by is None:
            self._leave_by = now + self.policy.leave_s
            yield StopEngine()
