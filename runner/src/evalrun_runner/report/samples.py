"""Samples: items of a run with prompt, answer, target, filtered answers and scores, chosen by what became of them.

One pass over the columns of the parts chooses; only what is shown is read whole. Where more items fit than are to be
shown, those with the smallest hashes are: drawn at random, and always the same. A run may still go on.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evalrun_api.wire.outputs import Results
from evalrun_runner.errors import InputError
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import OpenPart
from evalrun_runner.records.results import ItemStatus
from evalrun_runner.report.readings import ItemPlace, MainScore, open_parts, score_of
from evalrun_runner.store.base import ObjectStore

DEFAULT_SHOWN = 100
"""Samples that are shown unless another number is asked for."""
MOST_SHOWN = 5_000
"""Samples that one call shows at most."""

_Mark = tuple[str, float | None, int, int]
"""Digest of prompt or item, main score, chunk and row of an item."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Which items are asked for."""

    tasks: tuple[str, ...] = ()
    """Only these leaf tasks; empty: all."""
    wrong: bool = False
    """Items whose main score is not the best."""
    failed: bool = False
    """Items without a score. With ``wrong`` these as well."""
    most: int = DEFAULT_SHOWN

    def wants(self, status: str, value: float | None, *, lower_is_better: bool) -> bool:
        """Return whether an item with this end is asked for."""
        if not self.wrong and not self.failed:
            return True
        if status != ItemStatus.OK.value:
            return self.failed
        return self.wrong and value is not None and (value > 0 if lower_is_better else value < 1)


@dataclass(frozen=True, slots=True)
class SamplePlace:
    """Where a chosen item lies, in the run and in the one that it is compared with."""

    here: ItemPlace
    """Its value is NaN for an item without a score."""
    there: ItemPlace | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items that are shown, by task and place."""

    places: tuple[SamplePlace, ...]
    fitting: int
    """Number of items that are as asked for."""
    seen: int
    """Number of all items of the tasks."""
    unpaired: int = 0
    """Items that the other run has not, or was asked differently."""


def main_scores_of(results: Results | None) -> dict[str, tuple[MainScore, bool]]:
    """Return the first score of each leaf task, and whether less of it is better; nothing for a run that goes on."""
    found: dict[str, tuple[MainScore, bool]] = {}
    for task, scores in ({} if results is None else results.results).items():
        for name in scores:
            metric, comma, filter_name = name.partition(",")
            if comma and not metric.endswith("_stderr"):
                better = results.higher_is_better.get(task, {}).get(metric) if results is not None else None
                found[task] = ((metric, filter_name), better is False)
                break
    return found


def choose(
    store: ObjectStore,
    request: SampleRequest,
    mains: Mapping[str, tuple[MainScore, bool]],
    other: ObjectStore | None = None,
) -> Chosen:
    """Choose the items that are shown.

    Args:
        store: The run's output.
        request: What is asked for.
        mains: The score by which the items of each task are looked at; the first that an item has where it is missing.
        other: Output of the run to compare with: only items are chosen that have another main score there.

    Raises:
        InputError: There are no items of such a task.
        LedgerCorrupt: A part is damaged.
    """
    keys = _keys(store, request.tasks)
    draw = _Draw(request.most)
    seen = unpaired = 0
    theirs: dict[int, _Mark] = {}
    of_task: str | None = None
    for part in open_parts(store, keys):
        if other is not None and part.task != of_task:
            of_task, theirs = part.task, _marks_of(other, part.task, mains)
        lower = part.task in mains and mains[part.task][1]
        for doc, mark, status in _rows(part, mains):
            seen += 1
            pair = theirs.get(doc)
            if other is not None and (pair is None or pair[0] != mark[0]):
                unpaired += 1
            elif (pair is None or pair[1] != mark[1]) and request.wants(status, mark[1], lower_is_better=lower):
                draw.add(part.task, doc, mark, pair)
    return Chosen(draw.places(), draw.fitting, seen, unpaired)


class _Draw:
    """The fitting items with the smallest hashes, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, str, int, int, _Mark, _Mark | None]] = []
        self.fitting = 0

    def add(self, task: str, doc: int, mark: _Mark, pair: _Mark | None) -> None:
        """Add an item that fits, with what the other run has of it."""
        self.fitting += 1
        digest = int(hashlib.sha256(f"{task}\n{doc}".encode()).hexdigest()[:15], 16)
        entry = (-digest, task, mark[2], mark[3], mark, pair)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif -digest > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)

    def places(self) -> tuple[SamplePlace, ...]:
        """Return where the drawn items lie, by task and place."""
        drawn = sorted(self._heap, key=lambda entry: entry[1:4])
        return tuple(
            SamplePlace(_place(task, mark), None if pair is None else _place(task, pair))
            for _, task, _, _, mark, pair in drawn
        )


def _place(task: str, mark: _Mark) -> ItemPlace:
    return ItemPlace(task, mark[2], mark[3], float("nan") if mark[1] is None else mark[1])


def _keys(store: ObjectStore, tasks: tuple[str, ...]) -> list[tuple[str, int]]:
    keys = sorted(Ledger(store).committed_parts())
    there = sorted({task for task, _ in keys})
    if not there:
        raise InputError(f"{store.uri}: there is no item: no part is committed there; hint: is this a run's output?")
    for task in tasks:
        if task not in there:
            raise InputError(f"--task {task}: the run has no items of such a task; it has {', '.join(there)}"[:2_000])
    return [key for key in keys if not tasks or key[0] in tasks]


def _marks_of(store: ObjectStore, task: str, mains: Mapping[str, tuple[MainScore, bool]]) -> dict[int, _Mark]:
    """Return what the other run has of each document of a task."""
    keys = sorted(key for key in Ledger(store).committed_parts() if key[0] == task)
    return {doc: mark for part in open_parts(store, keys) for doc, mark, _ in _rows(part, mains)}


def _rows(part: OpenPart, mains: Mapping[str, tuple[MainScore, bool]]) -> Iterator[tuple[int, _Mark, str]]:
    """Yield document, mark and status of each row."""
    main = mains.get(part.task)
    docs, statuses, scores = part.doc_ids(), part.statuses(), part.scores()
    remembered: dict[str | None, float | None] = {None: None}
    for row, (prompt, own) in enumerate(zip(part.prompt_hashes(), part.hashes(), strict=True)):
        text = scores[row]
        if text not in remembered:
            remembered[text] = score_of(text or "", None if main is None else main[0])
        # The same question may have another right answer there: what was asked is what pairs two runs.
        yield docs[row], ((prompt or own)[:16], remembered[text], part.number, row), statuses[row]
