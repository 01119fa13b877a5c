"""Answers of a finished run, found by task and document, and taken where the requests are the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from evalrun_runner.errors import LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.recorded.no_answer import no_answer
from evalrun_runner.records.answers import answer_of
from evalrun_runner.records.plan import Chunk, Item, Request
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome

KEPT_CHUNKS = 32
"""Chunks that are kept decoded: items are asked for in the order of their documents."""

K = TypeVar("K")
V = TypeVar("V")


class RunAnswers:
    """Reader of a run's answers. Not thread-safe."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._chunks: dict[str, Mapping[int, Chunk]] = {}
        """Chunk of each document, by task."""
        self._rows: OrderedDict[tuple[str, int], Mapping[int, ItemResult]] = OrderedDict()
        self._items: OrderedDict[tuple[str, int], Mapping[int, Item]] = OrderedDict()

    def tasks(self, names: frozenset[str]) -> frozenset[str]:
        """Return which of these leaf tasks the run has."""
        return frozenset(name for name in names if self._ledger.task_index(name) is not None)

    def outcome(self, item: Item) -> Outcome:
        """Return an item's recorded answer.

        Raises:
            LedgerCorrupt: A part or a manifest of the recorded run is damaged.
        """
        chunk = self._chunks_of(item.task).get(item.doc_id)
        if chunk is None:
            return no_answer("the recorded run has no such document")
        rows = _kept(self._rows, chunk.id, lambda: self._read_rows(chunk))
        if (row := rows.get(item.doc_id)) is None:
            return no_answer("the recorded run stopped before this document")
        if row.item_hash != item.hash and (why := self._differs(chunk, item)) is not None:
            return no_answer(why)
        if row.outcome.status is not ItemStatus.OK:
            return Outcome(row.outcome.status, (), f"in the recorded run: {row.outcome.error}")
        return _first_repeats(item, row.outcome)

    def _differs(self, chunk: Chunk, item: Item) -> str | None:
        """Return why the recorded answer is to another request; None where only the document differs."""
        items = _kept(self._items, chunk.id, lambda: self._read_items(chunk))
        asked = items[item.doc_id].requests
        if len(asked) != len(item.requests):
            return f"the recorded answers are to {len(asked)} requests, and the item has {len(item.requests)} now"
        for number, (then, now) in enumerate(zip(asked, item.requests, strict=True)):
            if _asks(then) != _asks(now):
                what = "prompt" if then.arguments[:1] != now.arguments[:1] else "generation arguments or choice"
                return f"the recorded answer is to another request: request {number} has another {what} now"
            if then.repeats < now.repeats:
                return (
                    f"the recorded run has {then.repeats} answers to the request, and {now.repeats} are asked for now"
                )
        return None

    def _chunks_of(self, task: str) -> Mapping[int, Chunk]:
        if task not in self._chunks:
            index = self._ledger.task_index(task)
            found: dict[int, Chunk] = {}
            for number in range(0 if index is None else index.segments):
                segment = self._ledger.open_segment(task, number)
                docs = segment.doc_ids()
                for chunk in segment.chunks():
                    found.update(dict.fromkeys(docs[chunk.first_row : chunk.first_row + chunk.items], chunk))
            self._chunks[task] = found
        return self._chunks[task]

    def _read_rows(self, chunk: Chunk) -> Mapping[int, ItemResult]:
        try:
            return {row.doc_id: row for row in self._ledger.read_part(chunk).rows}
        except ObjectMissing:
            stop = self._ledger.recorded_stop()
            if stop is not None and not stop.counts_in(*chunk.id):
                return {}
            raise LedgerCorrupt(
                f"the recorded run is complete, but its part of chunk {chunk.number} of task {chunk.task} is not there"
            ) from None

    def _read_items(self, chunk: Chunk) -> Mapping[int, Item]:
        items = self._ledger.open_segment(chunk.task, chunk.segment).items(chunk)
        return {item.doc_id: item for item in items}


def _asks(request: Request) -> tuple[object, ...]:
    return request.type, request.index, request.arguments


def _first_repeats(item: Item, outcome: Outcome) -> Outcome:
    """Return as many of the recorded answers as the item asks for now."""
    wanted = [request.repeats for request in item.requests]
    if [len(of_request) for of_request in outcome.responses] == wanted:
        return outcome
    kept = tuple(of_request[:count] for of_request, count in zip(outcome.responses, wanted, strict=True))
    return Outcome(ItemStatus.OK, kept, answer=answer_of(kept))


def _kept(cache: OrderedDict[K, V], key: K, read: Callable[[], V]) -> V:
    if key not in cache:
        cache[key] = read()
        while len(cache) > KEPT_CHUNKS:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
