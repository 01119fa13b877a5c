"""Intake of leases: reading a chunk's items from the manifest and planning their engine calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType

from evalrun_runner.engine.requests import ItemRefused, RequestPlanner
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.manifest import decode_chunk
from evalrun_runner.recorded.source import Answers
from evalrun_runner.records.messages import Lease
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome
from evalrun_runner.replica.work import ChunkWork, ItemWork

SEGMENTS_KEPT = 4
"""Number of segments in memory; consecutive chunks come from the same segment."""


class Intake:
    """Reader of leases.

    Args:
        ledger: The run's ledger.
        planner: Planner of engine calls.
        carried: Whether an earlier run's parts may contain items to reuse.
        adapters: Adapter that answers a leaf task, by the task's name; the model itself answers the others.
        answers: Recorded answers, which are taken instead of an engine's.
    """

    def __init__(
        self,
        ledger: Ledger,
        planner: RequestPlanner,
        *,
        carried: bool = False,
        adapters: Mapping[str, str] = MappingProxyType({}),
        answers: Answers | None = None,
    ) -> None:
        self._adapters = adapters
        self._ledger = ledger
        self._look_for_carried = carried
        self._planner = planner
        self._answers = answers
        self._segments: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def open(self, lease: Lease) -> ChunkWork:
        """Read the lease's items and plan their calls; items that cannot run already have an outcome."""
        items = self._items(lease)
        work = ChunkWork(lease, items, [], carried=self._carried(lease))
        for row, item in enumerate(items):
            if (earlier := work.carried.get(row)) is not None:
                work.settle(row, earlier.outcome)
                continue
            if (why := lease.quarantined.get(row)) is not None:
                work.settle(row, Outcome(ItemStatus.QUARANTINED, error=why))
                continue
            if item.fault is not None:
                work.settle(row, Outcome(ItemStatus.FAILED, error=f"the document is wrong: {item.fault}"))
                continue
            if self._answers is not None:
                work.settle(row, self._answers.outcome(item))
                continue
            try:
                work.ready.append(ItemWork(row, item, self._planner.plan(item, self._adapters.get(item.task))))
            except ItemRefused as error:
                work.settle(row, Outcome(ItemStatus.FAILED, error=str(error)))
        # The longest first: a long one that begins last leaves the batch nearly empty until it ends.
        work.ready.sort(key=lambda item: item.plan.prompt_tokens, reverse=True)
        return work

    def _carried(self, lease: Lease) -> dict[int, ItemResult]:
        try:
            part = self._ledger.carried_part(lease.chunk) if self._look_for_carried else None
        except LedgerCorrupt:
            part = None  # a damaged copy is ignored: its items run again
        rows = () if part is None else part.rows
        return {row: result for row, result in enumerate(rows) if result.outcome.status is ItemStatus.OK}

    def _items(self, lease: Lease) -> list[Item]:
        chunk = lease.chunk
        key = (chunk.task, chunk.segment)
        if key not in self._segments:
            self._segments[key] = self._ledger.segment_bytes(*key)
            while len(self._segments) > SEGMENTS_KEPT:
                self._segments.popitem(last=False)
        self._segments.move_to_end(key)
        return decode_chunk(self._segments[key], chunk, f"manifest segment {chunk.segment} of task {chunk.task}")
