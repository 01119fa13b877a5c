"""What a report reads of a run's items: how they failed, how long answers took, and which of them had the worst scores.

One pass over the parts, or over evenly spread ones where there are many: memory and time stay bounded however large the
run is, and the report says how many it read.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evalrun_runner.benchmarks import values
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import OpenPart
from evalrun_runner.records.results import ItemStatus
from evalrun_runner.report.content import FailureGroup, ScoreLine
from evalrun_runner.report.text import one_line
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.read_ahead import in_order

MOST_PARTS = 4_000
"""Parts that are read: of some ten to a hundred items each."""
MOST_FAILURES = 30
"""Kinds of failure that are told apart."""
MOST_WORST = 5
"""Items with the worst scores that are kept of each task."""
_MOST_REMEMBERED = 4_096
_MOST_DOCS = 5

MainScore = tuple[str, str]
"""Metric and filter of the score by which the items of a task are looked at."""


@dataclass(frozen=True, slots=True)
class ItemPlace:
    """Where an item lies."""

    task: str
    chunk: int
    """Number of its chunk."""
    row: int
    """Place within the chunk."""
    value: float
    """Its score."""


@dataclass(frozen=True, slots=True)
class ItemReadings:
    """What the items of a run show."""

    read: int
    """Items that were read."""
    complete: bool
    """Whether these are all."""
    seconds: Sequence[float]
    """Times to the answers of the items, in seconds, sorted."""
    prompt_tokens: int
    output_tokens: int
    failures: Sequence[FailureGroup]
    failures_read: int
    worst: Mapping[str, Sequence[ItemPlace]]
    """The items with the worst scores of each task, the worst first; none where all have the best score."""
    binary: frozenset[str] = frozenset()
    """Tasks whose items have no other score than 0 and 1."""
    imperfect: Mapping[str, int] = field(default_factory=dict)
    """Number of items of each task that do not have the best score that was seen."""


def main_scores(lines: Sequence[ScoreLine]) -> dict[str, tuple[MainScore, bool]]:
    """Return the first score of each task, and whether less of it is better."""
    found: dict[str, tuple[MainScore, bool]] = {}
    for line in lines:
        if not line.is_group:
            found.setdefault(line.task, ((line.metric, line.filter), line.lower_is_better))
    return found


def read_items(store: ObjectStore, mains: Mapping[str, tuple[MainScore, bool]]) -> ItemReadings:
    """Read the parts.

    Args:
        store: The run's output.
        mains: The score by which the items of each task are looked at, and whether less of it is better.

    Raises:
        LedgerCorrupt: A part is damaged.
    """
    keys = Ledger(store).counted_parts()
    chosen = spread(keys, MOST_PARTS)
    gathering = _Gathering(mains)
    for part in open_parts(store, chosen):
        gathering.add(part)
    return gathering.finish(complete=len(chosen) == len(keys))


def spread(keys: Sequence[tuple[str, int]], most: int) -> Sequence[tuple[str, int]]:
    """Choose at most so many, evenly over all."""
    return keys if len(keys) <= most else [keys[place * len(keys) // most] for place in range(most)]


@dataclass(slots=True)
class _Failed:
    count: int = 0
    docs: list[str] = field(default_factory=list)


class _Gathering:
    def __init__(self, mains: Mapping[str, tuple[MainScore, bool]]) -> None:
        self._mains = mains
        self._read = self._failures_read = 0
        self._tokens = [0, 0]
        self._seconds: list[float] = []
        self._failed: dict[tuple[str, str, str], _Failed] = {}
        self._remembered: dict[tuple[str, str], float | None] = {}
        self._worst: dict[str, list[tuple[float, str, int, int]]] = {}
        """Heaps of (goodness, hash, chunk, row), negated so that the best of the worst leaves first."""
        self._counts: dict[str, dict[float, int]] = {}

    def add(self, part: OpenPart) -> None:
        """Add the items of a part."""
        scores, docs, statuses, errors = part.file.columns("scores", "doc_id", "status", "error")
        seconds, prompt, output = part.file.columns("seconds", "prompt_tokens", "output_tokens")
        self._read += part.size
        self._seconds.extend(one for one in seconds if one > 0)
        self._tokens[0] += sum(prompt)
        self._tokens[1] += sum(output)
        for row in range(part.size):
            if statuses[row] != ItemStatus.OK.value:
                self._add_failure(part.task, statuses[row], errors[row] or "", str(docs[row]))
            elif scores[row] is not None:
                self._add_score(part, row, scores[row])

    def _add_failure(self, task: str, status: str, error: str, doc: str) -> None:
        self._failures_read += 1
        key = (task, status, one_line(error, 300))
        if key not in self._failed and len(self._failed) >= MOST_FAILURES:
            key = (task, status, "other errors")
        failed = self._failed.setdefault(key, _Failed())
        failed.count += 1
        if len(failed.docs) < _MOST_DOCS:
            failed.docs.append(doc)

    def _add_score(self, part: OpenPart, row: int, text: str) -> None:
        main = self._mains.get(part.task)
        if main is None:
            return
        value = self._value(part.task, text, main[0])
        if value is None:
            return
        goodness = -value if main[1] else value
        counts = self._counts.setdefault(part.task, {})
        # Scores that hardly repeat need no count of each: what counts is how many are below the best.
        counts[goodness] = counts.get(goodness, 0) + 1
        if len(counts) > _MOST_REMEMBERED:
            best, second = heapq.nlargest(2, counts)
            counts[second] += sum(number for one, number in counts.items() if one < second)
            self._counts[part.task] = {best: counts[best], second: counts[second]}
        # Among equal scores the hash decides, so that those shown are drawn at random, and always the same.
        drawn = hashlib.sha256(f"{part.task}\n{part.number}\n{row}".encode()).hexdigest()[:16]
        heap = self._worst.setdefault(part.task, [])
        entry = (-goodness, drawn, part.number, row)
        if len(heap) < MOST_WORST:
            heapq.heappush(heap, entry)
        elif entry > heap[0]:
            heapq.heapreplace(heap, entry)

    def _value(self, task: str, text: str, main: MainScore) -> float | None:
        key = (task, text)
        if key in self._remembered:
            return self._remembered[key]
        found = score_of(text, main)
        if len(self._remembered) < _MOST_REMEMBERED:
            self._remembered[key] = found
        return found

    def finish(self, *, complete: bool) -> ItemReadings:
        """Return what was gathered."""
        failures = [
            FailureGroup(task, status, error, failed.count, tuple(failed.docs))
            for (task, status, error), failed in self._failed.items()
        ]
        imperfect = {
            task: sum(number for one, number in counts.items() if one < self._perfect(task))
            for task, counts in self._counts.items()
        }
        return ItemReadings(
            read=self._read,
            complete=complete,
            seconds=sorted(self._seconds),
            prompt_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            failures=sorted(failures, key=lambda group: -group.count),
            failures_read=self._failures_read,
            worst={task: self._worst_of(task) for task in sorted(self._worst)},
            binary=frozenset(task for task, counts in self._counts.items() if set(map(abs, counts)) <= {0.0, 1.0}),
            imperfect=imperfect,
        )

    def _worst_of(self, task: str) -> list[ItemPlace]:
        sign = -1 if self._mains[task][1] else 1
        found = [(-negated, chunk, row) for negated, _, chunk, row in sorted(self._worst[task], reverse=True)]
        perfect = self._perfect(task)
        return [ItemPlace(task, chunk, row, sign * goodness) for goodness, chunk, row in found if goodness < perfect]

    def _perfect(self, task: str) -> float:
        """Return the goodness that leaves nothing to wish for: 1, or the best there is where scores go beyond it."""
        best = max(self._counts[task])
        return 0.0 if self._mains[task][1] else max(best, 1.0)


def score_of(text: str, main: MainScore | None) -> float | None:
    """Return the score of an item, where it is a number.

    Args:
        text: Its scores, in the codec of ``benchmarks.values``.
        main: Metric and filter; None: the first that it has.
    """
    found = values.decode(text)
    filters = found if isinstance(found, dict) else {}
    metrics = next(iter(filters.values()), None) if main is None else filters.get(main[1])
    scores = metrics if isinstance(metrics, dict) else {}
    value = next(iter(scores.values()), None) if main is None else scores.get(main[0])
    try:
        number = float(value) if value is not None and not isinstance(value, list | tuple | str) else None
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None


def open_parts(store: ObjectStore, keys: Sequence[tuple[str, int]]) -> Iterator[OpenPart]:
    """Open parts in order; a few are read ahead."""

    def read(place: tuple[str, int]) -> OpenPart:
        key = layout.part(*place)
        return OpenPart.open(store.get(key), f"{store.uri}{key}")

    yield from in_order(keys, read)
