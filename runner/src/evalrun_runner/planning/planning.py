"""Planning in a thread of its own while replicas load: chunks become available once their segment is durable."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from evalrun_api import Reason, RunWarning
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.checks.remarks import Remarks
from evalrun_runner.benchmarks.checks.summary import warnings_of
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.benchmarks.running_scores import add
from evalrun_runner.errors import EvalRunError, LedgerCorrupt, ObjectMissing, RunFailed, default_reason
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.manifest import TaskIndex
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.resume import EarlierRun, Kept
from evalrun_runner.planning.segments import Manifest, PlannedSegment, plan_task
from evalrun_runner.records.plan import Chunk, Item
from evalrun_runner.records.results import ItemCounts, Tallies

SEGMENTS_AHEAD = 64
"""Maximum number of planned segments that the dispatcher has not taken yet; they contain chunks only, no items."""
READERS = 16
"""Number of parts that are read concurrently when a run is resumed."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Chunks whose segment is durable."""

    chunks: tuple[Chunk, ...]
    committed: Mapping[tuple[str, int], ItemCounts]
    """Counts by chunk id of the chunks for which the store contains a sound part."""
    set_aside: int
    """Number of damaged parts."""
    notes: tuple[str, ...] = ()
    """Notes for people on the manifest."""
    scores: Mapping[str, Tallies] = field(default_factory=dict)
    """Map from task to what the items of the committed chunks add to its running scores."""
    places: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """Share of their task's items that are drawn before each chunk, by chunk id; empty without a drawn order."""


@dataclass(frozen=True, slots=True)
class _Unindexed:
    """Manifest whose index is ignored, so that missing segments are made again."""

    ledger: Ledger

    def write_segment(self, items: Sequence[Item], chunks: Sequence[Chunk]) -> None:
        """Write a segment to the ledger."""
        self.ledger.write_segment(items, chunks)

    def read_chunks(self, task: str, number: int) -> tuple[Chunk, ...]:
        """Read a segment's chunks from the ledger."""
        return self.ledger.read_chunks(task, number)

    def write_task_index(self, index: TaskIndex) -> None:
        """Write the index to the ledger, which refuses it unless the plan is the same."""
        self.ledger.write_task_index(index)

    def task_index(self, task: str) -> TaskIndex | None:
        """Return None, so that the task is planned again."""
        return None


class Planning:
    """Thread that plans every leaf task in canonical order. ``take`` returns what is ready without waiting."""

    def __init__(
        self,
        benchmarks: LoadedBenchmarks,
        chat: ChatTemplate | None,
        ledger: Ledger,
        epoch: int,
        sizing: ChunkSizing,
        earlier: EarlierRun | None,
    ) -> None:
        self._benchmarks = benchmarks
        self._chat = chat
        self._ledger = ledger
        self._epoch = epoch
        self._sizing = sizing
        self._earlier = earlier
        self._ready: queue.Queue[Planned] = queue.Queue(SEGMENTS_AHEAD)
        self._stop = threading.Event()
        self._error: EvalRunError | None = None
        self._notes: list[str] = []
        self._warnings: list[RunWarning] = []
        self._thread = threading.Thread(target=self._run, name="planning", daemon=True)

    def start(self) -> None:
        """Start planning."""
        self._thread.start()

    def take(self) -> list[Planned]:
        """Return what was planned since the last call.

        Raises:
            EvalRunError: The error that stopped the planning.
        """
        alive = self._thread.is_alive()
        planned = []
        while not self._ready.empty():
            planned.append(self._ready.get_nowait())
        if not alive and not planned and self._error is not None:
            raise self._error
        return planned

    @property
    def done(self) -> bool:
        """Whether all chunks were taken and no more will follow."""
        return not self._thread.is_alive() and self._ready.empty() and self._error is None

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """What was noted of the documents of the leaf tasks planned so far; the same whichever driver planned them."""
        return tuple(self._warnings)

    def stop(self) -> None:
        """Stop planning; what is durable stays."""
        self._stop.set()
        while self._thread.is_alive():
            self.take_quietly()
            self._thread.join(0.05)

    def take_quietly(self) -> None:
        """Empty the queue, so that the thread can continue and see that it should stop."""
        while not self._ready.empty():
            self._ready.get_nowait()

    def _run(self) -> None:
        try:
            existing = set(self._ledger.committed_parts())
            with (
                default_reason(Reason.TASK_INVALID),
                ThreadPoolExecutor(READERS, thread_name_prefix="resume") as readers,
            ):
                for leaf in self._benchmarks.leaves:
                    for segment, places in self._with_places(leaf):
                        self._ready.put(replace(self._look_up(segment.chunks, existing, readers), places=places))
                        if self._stop.is_set():
                            return
                    self._warn(leaf)
        except EvalRunError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001  a task's own code may raise anything, and the driver must know
            self._error = RunFailed(f"planning failed: {type(error).__name__}: {error}")

    def _warn(self, leaf: LeafTask) -> None:
        """Pass on what the index says of the task's documents, also where another driver planned them."""
        index = self._ledger.task_index(leaf.name)
        warnings = tuple(warnings_of(leaf.name, index.notes)) if index else ()
        self._warnings += warnings
        if warnings:
            self._ready.put(Planned((), {}, 0, tuple(f"warning: {warning.line}" for warning in warnings)))

    def _with_places(self, leaf: LeafTask) -> Iterator[tuple[PlannedSegment, Mapping[tuple[str, int], float]]]:
        """Yield the segments of a leaf with their chunks' places, which are known once the whole leaf is planned."""
        if self._sizing.order is None:
            yield from ((segment, {}) for segment in self._segments(leaf))
            return
        segments = list(self._segments(leaf))
        total, before = sum(segment.items for segment in segments), 0
        for segment in segments:
            places = {}
            for chunk in segment.chunks:
                places[chunk.id] = before / total
                before += chunk.items
            yield segment, places

    def _segments(self, leaf: LeafTask) -> Iterator[PlannedSegment]:
        """Yield the segments of a leaf. A damaged or missing one is planned again, as the spec determines the plan."""
        manifest: Manifest = self._ledger
        given = 0
        while True:
            try:
                remarks = Remarks(leaf.task, survey=leaf.survey is None)
                items = iter_items(leaf, self._chat, remarks)
                planned = plan_task(leaf.name, items, manifest, self._sizing, notes=remarks.notes)
                for segment in planned:
                    if segment.number == given:
                        given += 1
                        yield segment
                return
            except (LedgerCorrupt, ObjectMissing) as error:
                # All earlier segments were sound, so if a segment is damaged, it is the next one.
                aside = self._ledger.set_segment_aside(leaf.name, given, self._epoch)
                if not aside and isinstance(manifest, _Unindexed):
                    advice = "Remove it and start the run again: it is planned again, and the parts are kept"
                    raise LedgerCorrupt(f"{error}. {advice}") from error
                what = "was damaged and is set aside under corrupt/" if aside else "is missing, or its index is damaged"
                self._notes.append(f"manifest segment {given} of task {leaf.name} {what}; it is planned again")
                manifest = _Unindexed(self._ledger)

    def _look_up(
        self, chunks: tuple[Chunk, ...], existing: set[tuple[str, int]], readers: ThreadPoolExecutor
    ) -> Planned:
        there = [chunk for chunk in chunks if chunk.id in existing]
        looked_up = dict(zip((chunk.id for chunk in there), readers.map(self._kept, there), strict=True))
        if self._earlier is not None:
            missing = [chunk for chunk in chunks if looked_up.get(chunk.id) is None]
            taken = readers.map(self._earlier.take_over, missing)
            looked_up |= dict(zip((chunk.id for chunk in missing), taken, strict=True))
        sound = {chunk: kept for chunk, kept in looked_up.items() if kept is not None}
        notes, self._notes = tuple(self._notes), []
        return Planned(
            chunks,
            {chunk: kept.counts for chunk, kept in sound.items()},
            len(existing.intersection(looked_up) - sound.keys()),
            notes,
            # All chunks of a segment belong to one task.
            {chunks[0].task: add(kept.scores for kept in sound.values())} if sound else {},
        )

    def _kept(self, chunk: Chunk) -> Kept | None:
        try:
            part = self._ledger.read_part(chunk)
        except ObjectMissing:
            return None
        except LedgerCorrupt:
            self._ledger.set_aside(chunk, self._epoch)
            return None
        return Kept.of(part.counts, part.rows)
