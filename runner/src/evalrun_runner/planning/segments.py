"""Planning of items into durable segments: no chunk is available before its segment is in the store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalrun_runner.errors import InputError, LedgerCorrupt
from evalrun_runner.ledger.manifest import TaskIndex, chunk_digest
from evalrun_runner.planning.chunks import ChunkSizing, cut_chunks
from evalrun_runner.planning.drawn import cut_drawn
from evalrun_runner.records.plan import Chunk, Item, PlanNote


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """Maximum sizes of a segment; it contains one chunk in any case."""

    first_items: int = 256
    """Number of items in a task's first segment, small so that work starts early; it doubles for each next one."""
    items: int = 4096
    """Number of items in any segment."""
    characters: int = 8_000_000
    """Number of characters of a segment's documents and requests, before compression."""


LIMITS = SegmentLimits()


class Manifest(Protocol):
    """Part of the ledger that planning uses."""

    def write_segment(self, items: Sequence[Item], chunks: Sequence[Chunk]) -> None:
        """Make a segment durable; an existing one must be equal."""

    def read_chunks(self, task: str, number: int) -> tuple[Chunk, ...]:
        """Read the chunks of an existing segment."""

    def write_task_index(self, index: TaskIndex) -> None:
        """Record that the task's manifest is complete."""

    def task_index(self, task: str) -> TaskIndex | None:
        """Read the index, None while the manifest is not complete."""


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """Durable segment whose chunks may be leased."""

    task: str
    number: int
    chunks: tuple[Chunk, ...]
    items: int


def plan_task(
    task: str,
    items: Iterable[Item],
    manifest: Manifest,
    sizing: ChunkSizing,
    limits: SegmentLimits = LIMITS,
    notes: Callable[[], tuple[PlanNote, ...]] = tuple,
) -> Iterator[PlannedSegment]:
    """Plan a leaf task as a stream of durable segments, and write its index at the end.

    At most one segment of items is in memory.

    Args:
        task: Name of the leaf task.
        items: The items in the order of their documents, used only if the manifest is not complete yet. A partial
            manifest is built again and must be equal.
        manifest: The ledger.
        sizing: The chunks' size and order. A drawn order is known only once every item is built.
        limits: The segments' size.
        notes: Returns, after the last item, what was noted of the task's documents.

    Raises:
        InputError: The store contains another plan.
        LedgerCorrupt: The store contains a damaged plan.
    """
    index = manifest.task_index(task)
    if index is not None:
        return _planned_before(index, manifest)
    chunks = cut_chunks(items, lambda item: item.cost, sizing) if sizing.order is None else cut_drawn(items, sizing)
    return _plan_anew(task, _segments(chunks, limits), manifest, notes)


def _plan_anew(
    task: str,
    groupings: Iterable[list[list[Item]]],
    manifest: Manifest,
    notes: Callable[[], tuple[PlanNote, ...]],
) -> Iterator[PlannedSegment]:
    digests: list[str] = []
    segments, planned, cost = 0, 0, 0.0
    for groups in groupings:
        rows = list(itertools.chain.from_iterable(groups))
        chunks = _chunks(task, segments, len(digests), groups)
        manifest.write_segment(rows, chunks)
        yield PlannedSegment(task, segments, chunks, len(rows))
        digests += [chunk.digest for chunk in chunks]
        segments, planned, cost = segments + 1, planned + len(rows), cost + sum(chunk.cost for chunk in chunks)
    if not digests:
        raise InputError(f"task {task!r} has no documents: its data set is empty")
    manifest.write_task_index(TaskIndex(task, segments, planned, len(digests), cost, chunk_digest(digests), notes()))


def _planned_before(index: TaskIndex, manifest: Manifest) -> Iterator[PlannedSegment]:
    digests: list[str] = []
    for number in range(index.segments):
        chunks = manifest.read_chunks(index.task, number)
        digests += [chunk.digest for chunk in chunks]
        yield PlannedSegment(index.task, number, chunks, sum(chunk.items for chunk in chunks))
    if chunk_digest(digests) != index.digest:
        raise LedgerCorrupt(
            f"the manifest of task {index.task!r} is damaged: its segments hold {len(digests)} chunks that do not add "
            f"up to its index ({index.chunks} chunks). Remove the task's folder under manifest/ to plan it again"
        )


def _segments(chunks: Iterable[list[Item]], limits: SegmentLimits) -> Iterator[list[list[Item]]]:
    """Group whole chunks into segments, as many as a segment may contain, but at least one."""
    segment: list[list[Item]] = []
    items, characters = 0, 0
    limit = limits.first_items
    for chunk in chunks:
        size = sum(_characters(item) for item in chunk)
        if segment and (items + len(chunk) > limit or characters + size > limits.characters):
            yield segment
            segment, items, characters = [], 0, 0
            limit = min(2 * limit, limits.items)
        segment.append(chunk)
        items, characters = items + len(chunk), characters + size
    if segment:
        yield segment


def _characters(item: Item) -> int:
    """Estimate the number of characters of an item in its segment, where texts shared by its requests count once."""
    texts = {text for request in item.requests for text in request.arguments if isinstance(text, str)}
    return sum(map(len, texts)) + len(str(item.doc))


def _chunks(task: str, segment: int, first_number: int, groups: Sequence[Sequence[Item]]) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    row = 0
    for number, items in enumerate(groups, start=first_number):
        digest = chunk_digest(item.hash for item in items)
        cost = sum(item.cost for item in items)
        chunks.append(Chunk(task, number, segment, row, len(items), cost, digest))
        row += len(items)
    return tuple(chunks)
