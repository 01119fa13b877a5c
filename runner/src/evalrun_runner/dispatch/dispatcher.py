"""The dispatcher: reports in, orders out. Its sections follow the life of a chunk.

The driver keeps one call outstanding per replica: the replica's answer is a ``Report``, the driver's next message an
``Order``. A report states how many items the replica wants (its credit), and the dispatcher leases chunks against it:

1. suspects first (``suspects.py``): chunks that were in flight on an engine that died run alone;
2. then pending chunks, the most expensive first, or in a drawn order where the run may stop early (``queue.py``), up
   to the replica's fair share of the remaining work;
3. then, on a replica that would idle, a copy of the lease that is expected to end last (``hedge.py``).

Whatever happens to a replica, its chunks return to the dispatcher, and the first commit of a chunk wins. An order
always reaches its replica unless the replica is dead; Ray's actor calls guarantee this.

Pure: no clock, no threads, no randomness, no I/O. ``now`` is in seconds on any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from evalrun_runner.dispatch import hedge
from evalrun_runner.dispatch.leases import Holding, LeaseBook
from evalrun_runner.dispatch.policy import Departure, DispatchPolicy, KillOrder
from evalrun_runner.dispatch.progress import Inherited, ProgressSnapshot, RunCounters
from evalrun_runner.dispatch.queue import DrawnQueue, PendingQueue
from evalrun_runner.dispatch.replica_registry import ReplicaRegistry
from evalrun_runner.dispatch.replicas import ReplicaHealth, kill_order
from evalrun_runner.dispatch.suspects import Quarantine, Suspects
from evalrun_runner.dispatch.table import OPEN, ChunkTable, State
from evalrun_runner.errors import RunFailed
from evalrun_runner.records.messages import Committed, Lease, Order, Report
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts

_NONE_COMMITTED: Mapping[tuple[str, int], ItemCounts] = {}
_NO_PLACES: Mapping[tuple[str, int], float] = {}


class Dispatcher:
    """Dispatcher that leases chunks to replicas until every chunk is committed.

    Args:
        policy: The numbers that decisions depend on.
        on_commit: Called with the replica's name and the commit when a chunk is committed for the first time.
        inherited: What the driver before left unfinished; only counts depend on it.
    """

    def __init__(
        self,
        policy: DispatchPolicy | None = None,
        on_commit: Callable[[str, Committed], None] = lambda replica, committed: None,
        inherited: Inherited | None = None,
    ) -> None:
        self.policy = policy or DispatchPolicy()
        self._on_commit = on_commit
        self._table = ChunkTable()
        self._queue = DrawnQueue(self._table) if self.policy.drawn_order else PendingQueue(self._table, self.policy)
        self._leases = LeaseBook()
        self._suspects = Suspects(self.policy)
        self._registry = ReplicaRegistry(self.policy.speed_half_life_s)
        self._quarantined: list[Quarantine] = []
        self._reopened: dict[int, int] = {}
        """Map from index to the last lease id before the chunk was reopened; commits of older leases were set aside."""
        self._counters = RunCounters(self.policy.rate_window_s, 0 if inherited is None else inherited.redone)
        self._inherited = set() if inherited is None else set(inherited.under_way)
        """Chunks that the driver before had under way, and that are not planned yet."""
        self._planning_done = False
        self._stop: Mapping[str, int] | None = None
        """Number of first chunks of each task that the run is made of, once it has stopped early."""
        self._fatal: str | None = None

    # -- the plan ------------------------------------------------------------------------------------------------

    def add_chunks(
        self,
        chunks: Iterable[Chunk],
        committed: Mapping[tuple[str, int], ItemCounts] = _NONE_COMMITTED,
        places: Mapping[tuple[str, int], float] = _NO_PLACES,
    ) -> None:
        """Add planned chunks in canonical order; may be called while replicas work.

        Args:
            chunks: The chunks.
            committed: How the items of already committed chunks ended, by chunk id; these chunks are reused.
            places: Share of its task's items that are drawn before a chunk, by chunk id; where chunks are leased in the
                drawn order, one without a place comes first.

        Raises:
            RunFailed: A chunk was added before, or its counts do not cover its items.
        """
        for chunk in chunks:
            counts = committed.get(chunk.id)
            if chunk.id in self._inherited:
                self._inherited.discard(chunk.id)
                self._counters.redone += chunk.items if counts is None and not self._is_skipped(chunk.id) else 0
            if self._is_skipped(chunk.id):
                self._table.add(chunk, State.SKIPPED)
            elif counts is None:
                self._queue.push(self._table.add(chunk, State.PENDING), places.get(chunk.id, 0.0))
            else:
                index = self._table.add(chunk, State.KEPT)
                self._table.settle(index, counts)
                self._counters.counts += counts
                self._counters.kept += chunk.items

    def chunks(self) -> Iterator[Chunk]:
        """Return every chunk in the order of addition, which is the canonical order."""
        return (self._table.chunk(index) for index in range(len(self._table)))

    def planning_done(self) -> None:
        """Note that no more chunks will be added."""
        self._planning_done = True

    def stop_after(self, chunks: Mapping[str, int], now: float) -> None:
        """Stop early: count the first chunks of each task alone, and skip all others, whatever became of them.

        Leases of skipped chunks end, and their replicas are told to drop them. Chunks that are added later are judged
        alike. The first call decides.

        Args:
            chunks: Map from task to its number of chunks that count; of other tasks none does.
            now: The time.
        """
        if self._stop is not None:
            return
        self._stop = dict(chunks)
        for index in range(len(self._table)):
            if self._is_skipped(self._table.id(index)):
                self._skip(index, now)

    @property
    def all_planned(self) -> bool:
        """Whether planning is done."""
        return self._planning_done

    def counts_in(self, chunk: tuple[str, int]) -> bool:
        """Return whether a chunk is a part of the run: it has not stopped before it."""
        return not self._is_skipped(chunk)

    def has_ended(self, chunk: tuple[str, int]) -> bool:
        """Return whether a chunk is committed, by this driver's replicas or before, and counts."""
        index = self._table.find(chunk)
        return index is not None and self._table.state(index) in (State.COMMITTED, State.KEPT)

    def reopen(self, chunk: Chunk) -> None:
        """Run a chunk again whose part was set aside as corrupt.

        Raises:
            RunFailed: The chunk was never added.
        """
        index = self._table.find(chunk.id)
        if index is None:
            raise RunFailed(f"chunk {chunk.number} of task {chunk.task!r} cannot be run again: it was never planned")
        self._reopened[index] = self._leases.last_id
        state = self._table.state(index)
        if state not in (State.COMMITTED, State.KEPT):
            return
        counts = self._table.unsettle(index)
        self._counters.undo(counts, kept=state is State.KEPT)
        self._table.move(index, State.PENDING)
        self._queue.push_front(index)

    # -- the replicas --------------------------------------------------------------------------------------------

    def join(self, replica: str, now: float) -> None:
        """Add a replica that is ready for work. If its name is already present, it replaces the earlier replica."""
        if self._registry.get(replica) is not None:
            self.leave(replica, Departure.LOST, now)
        self._registry.join(replica, now)

    def report(self, replica: str, report: Report, now: float) -> Order:
        """Process a replica's report and return its next order.

        Commits count whoever reports them, even a replica that was given up. Everything else counts only from replicas
        that are present; others are ordered to leave.
        """
        for committed in report.committed:
            self._commit(replica, committed, now)
        here = self._registry.get(replica)
        if here is None:
            return Order(done=True)
        tokens = here.receive(report, now)
        self._counters.processed(tokens, now)
        for lease_id in report.returned:
            holding = self._leases.get(lease_id, replica)
            if holding is not None:
                self._release(holding, now)
        for lease_id, items in report.answered:
            holding = self._leases.get(lease_id, replica)
            if holding is not None:
                self._answer(holding, items, now)
        leases = self._grant(here, report.wants, now)
        cancel, here.cancels = tuple(here.cancels), []
        return Order(leases, cancel, done=self.finished)

    def leave(self, replica: str, cause: Departure, now: float) -> None:
        """Remove a replica that departed, and take its leases back. Does nothing if it has already left."""
        here = self._registry.get(replica)
        if here is None:
            return
        for holding in self._leases.of_replica(replica):
            if cause.suspicious:
                self._blame(here, holding)
            if self._release(holding, now):
                self._counters.redone += holding.items
        self._suspects.stop(replica)
        self._registry.leave(here)

    def tick(self, now: float) -> tuple[KillOrder, ...]:
        """Return kill orders for silent or hung replicas, repeated every ``kill_repeat_s`` until they leave."""
        orders = [kill_order(replica, self.policy, now) for replica in self._registry]
        return tuple(one for one in orders if one is not None) if any(orders) else ()

    # -- what came of it -----------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether planning is done and every chunk is committed."""
        return self._planning_done and not self._table.any_open

    @property
    def any_open(self) -> bool:
        """Whether any planned chunk still has to be run."""
        return self._table.any_open

    @property
    def counts(self) -> ItemCounts:
        """Counts of how committed items ended, including reused ones."""
        return self._counters.counts

    @property
    def redone(self) -> int:
        """Items that were redone in the run, by this driver and those before it."""
        return self._counters.redone_before + self._counters.redone

    def under_way(self) -> set[tuple[str, int]]:
        """Return the leased chunks by (task, number), and those of the driver before that are not planned yet."""
        return {self._table.id(holding.index) for holding in self._leases} | self._inherited

    @property
    def fatal(self) -> str | None:
        """Reason for people why the run cannot finish, or None. If set, nothing is leased any more."""
        return self._fatal

    @property
    def over_cap(self) -> bool:
        """Whether more items failed or were quarantined than the policy allows."""
        return self._counters.counts.failed + self._counters.counts.quarantined > self.policy.max_failed_items

    @property
    def hopeless(self) -> str | None:
        """Reason for people why the run is not worth its GPUs any more, or None: most of its items fail.

        A run in which a few items fail is finished, then judged.
        """
        counts = self._counters.counts
        lost = counts.failed + counts.quarantined
        if self.over_cap and lost >= self.policy.hopeless_items and 2 * lost > counts.total:
            return f"{lost:,} of the first {counts.total:,} items failed: the run was given up"
        return None

    @property
    def quarantined(self) -> tuple[Quarantine, ...]:
        """Items that were found to kill engines, in the order of discovery."""
        return tuple(self._quarantined)

    def progress(self, now: float) -> ProgressSnapshot:
        """Return a snapshot of the run."""
        return self._counters.snapshot(self._table, self._registry, planning_done=self._planning_done, now=now)

    # -- leasing -------------------------------------------------------------------------------------------------

    def _grant(self, replica: ReplicaHealth, wants: int, now: float) -> tuple[Lease, ...]:
        if wants <= 0 or self._fatal is not None or self._suspects.isolates(replica.name):
            return ()
        normal_work = self._queue.peek(replica.task) is not None
        if replica.held_chunks:
            if self._suspects.reserve(replica.name, replicas=len(self._registry), normal_work=normal_work):
                return ()
        elif self._suspects.may_start(replica.name, replicas=len(self._registry), normal_work=normal_work):
            return (self._isolate(replica, now),)
        leases = self._grant_normal(replica, wants, now)
        if leases or replica.held_chunks:
            return leases
        return self._grant_copy(replica, now)

    def _isolate(self, replica: ReplicaHealth, now: float) -> Lease:
        index = self._suspects.next()
        assert index is not None, "may_start looked"
        self._suspects.start(index, replica.name)
        return self._lease(replica, index, now, isolated=True)

    def _grant_normal(self, replica: ReplicaHealth, wants: int, now: float) -> tuple[Lease, ...]:
        leases: list[Lease] = []
        share = self._fair_share(replica)
        while wants > 0:
            index = self._queue.peek(replica.task)
            if index is None:
                break
            items, cost = self._table.items(index), self._table.cost(index)
            # A replica without work gets one chunk of any size. Beyond that, neither its credit nor its share may be
            # exceeded by more than half a chunk: a replica that is a few items short must not starve, and the shares
            # must add up to all pending chunks, or the last chunk would wait for a commit while engines idle.
            if replica.held_chunks and (items > 2 * wants or replica.held_cost + cost / 2 > share):
                break
            self._queue.take(index)
            replica.task = self._table.task(index)
            leases.append(self._lease(replica, index, now))
            wants -= items
        return tuple(leases)

    def _grant_copy(self, replica: ReplicaHealth, now: float) -> tuple[Lease, ...]:
        candidates = (
            holding
            for holding in self._leases
            if self._leases.copies(holding.index) < self.policy.max_copies
            # A chunk that may kill engines must not spread: only one replica runs a suspect at a time.
            and not self._suspects.is_suspect(holding.index)
        )
        late = hedge.choose(replica, candidates, self._registry, self.policy, now)
        if late is None:
            return ()
        self._counters.hedged += 1
        return (self._lease(replica, late.index, now),)

    def _lease(self, replica: ReplicaHealth, index: int, now: float, *, isolated: bool = False) -> Lease:
        items, cost = self._table.items(index), self._table.cost(index)
        holding = self._leases.grant(index, replica.name, now, items=items, cost=cost, isolated=isolated)
        self._registry.take(holding, now)
        self._counters.begin(now)
        self._table.move(index, State.LEASED)
        return Lease(holding.id, self._table.chunk(index), isolated, self._suspects.rows(index))

    def _fair_share(self, replica: ReplicaHealth) -> float:
        """Return the cost that the replica may hold: its part, by speed, of all uncommitted work."""
        left = self._table.cost_in(*OPEN)
        return self.policy.fair_share * left * self._registry.part_of(replica)

    # -- endings -------------------------------------------------------------------------------------------------

    def _commit(self, replica: str, committed: Committed, now: float) -> None:
        index = self._table.find(committed.chunk)
        if index is None:
            task, number = committed.chunk
            raise RunFailed(f"replica {replica} committed chunk {number} of task {task!r}, which was never planned")
        if committed.lease <= self._reopened.get(index, 0):
            self._counters.duplicates += 1
            return
        if self._table.state(index) in (State.COMMITTED, State.KEPT):
            self._counters.duplicates += 1
            return
        if self._table.state(index) is State.SKIPPED:
            return
        self._table.settle(index, committed.counts)
        answered = self._leases.answered(index)
        for holding in self._leases.of_chunk(index):
            if holding.replica == replica:
                self._registry.worked(holding, now)
            else:
                self._registry[holding.replica].cancels.append(holding.id)
            self._end(holding, now)
        self._suspects.acquit(index)
        self._table.move(index, State.COMMITTED)
        self._counters.commit(committed, self._table.cost(index), now, answered=answered)
        self._registry.committed(replica, committed.counts.total)
        self._on_commit(replica, committed)

    def _is_skipped(self, chunk: tuple[str, int]) -> bool:
        return self._stop is not None and chunk[1] >= self._stop.get(chunk[0], 0)

    def _skip(self, index: int, now: float) -> None:
        state = self._table.state(index)
        if state in (State.COMMITTED, State.KEPT):
            self._counters.uncount(self._table.unsettle(index), kept=state is State.KEPT)
        for holding in self._leases.of_chunk(index):
            self._registry[holding.replica].cancels.append(holding.id)
            self._end(holding, now)
        self._suspects.acquit(index)
        self._table.move(index, State.SKIPPED)

    def _release(self, holding: Holding, now: float) -> bool:
        """Take a lease back undone, and return whether its chunk must wait again because no other replica holds it."""
        if not self._end(holding, now):
            return False
        if self._suspects.is_suspect(holding.index):
            self._table.move(holding.index, State.SUSPECT)
            self._suspects.wait(holding.index)
        else:
            self._table.move(holding.index, State.PENDING)
            self._queue.push_front(holding.index)
        return True

    def _end(self, holding: Holding, now: float) -> bool:
        """Remove a lease, and return whether no replica holds its chunk any more."""
        self._registry.put(holding, now)
        if holding.isolated:
            self._suspects.stop(holding.replica)
        before = self._leases.answered(holding.index)
        free = self._leases.end(holding)
        self._counters.forget(before - self._leases.answered(holding.index), holding.cost / holding.items)
        return free

    def _answer(self, holding: Holding, items: int, now: float) -> None:
        """Count the items of a chunk that have an outcome now; those of its copies are the same items."""
        before = self._leases.answered(holding.index)
        holding.answered = min(items, holding.items)
        more = self._leases.answered(holding.index) - before
        if more > 0:
            self._counters.answer(more, holding.cost / holding.items, now)

    def _blame(self, replica: ReplicaHealth, holding: Holding) -> None:
        """Blame the lease for its engine's death: quarantine its announced item, or else suspect the whole chunk."""
        if holding.isolated and replica.announced is not None and replica.announced[0] == holding.id:
            row = replica.announced[1]
            if self._suspects.quarantine(holding.index, row):
                why = self._suspects.rows(holding.index)[row]
                self._quarantined.append(Quarantine(self._table.id(holding.index), row, why))
                return
        if not self._suspects.accuse(holding.index):
            task, number = self._table.id(holding.index)
            self._fatal = self._fatal or (
                f"{self._suspects.deaths(holding.index)} engines died with chunk {number} of task {task!r} in flight, "
                "and no single item of it was found to be the cause; look into the replicas' logs before the next try"
            )
