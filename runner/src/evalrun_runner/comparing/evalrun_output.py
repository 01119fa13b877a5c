"""Item scores of a finished EvalRun, from its output: a folder or a prefix on S3.

Scores are in the parts, documents and prompts in the manifest. Only the columns asked for are decoded: a comparison of
two runs of one plan reads the scores of the parts and the chunks' digests, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, groupby
from operator import attrgetter
from typing import TypeVar, cast

import numpy as np

from evalrun_api.wire.outputs import RunRecord
from evalrun_runner.benchmarks import values
from evalrun_runner.comparing.answers import answer_of
from evalrun_runner.comparing.columns import ItemValues, ScoreColumns
from evalrun_runner.comparing.declared_clusters import cluster_field, cluster_numbers
from evalrun_runner.comparing.facts import RunFacts, RunOrigin, facts_of
from evalrun_runner.comparing.keys import combined, document_hash, keys_of_hashes, text_hash
from evalrun_runner.comparing.scored import BoolArray, IntArray, ItemScores, ItemText, KeyArray, KeyKind, MetricName
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, counted, listed
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import OpenPart
from evalrun_runner.ledger.unfinished import why_unfinished
from evalrun_runner.records.plan import Chunk, Item
from evalrun_runner.records.results import ItemResult
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.read_ahead import in_order

T = TypeVar("T")


class EvalRunOutput:
    """A finished run; see ``ScoredRun``."""

    def __init__(self, store: ObjectStore, label: str) -> None:
        """Open an output.

        Args:
            store: The output.
            label: Name for people.

        Raises:
            InputError: There is no finished run.
            LedgerCorrupt: Its results are damaged.
        """
        self.label = label
        self.place = store.uri
        self._store = store
        self._ledger = Ledger(store)
        try:
            self._results = _document(self._ledger.completed_results(), f"{store.uri}{layout.RESULTS}")
        except ObjectMissing as error:
            raise InputError(f"{store.uri} {why_unfinished(store)}; give the output of a finished run") from error
        self._sizes: dict[str, list[int]] = {}
        self._cut: dict[str, list[bool]] = {}

    @cached_property
    def facts(self) -> RunFacts:
        """See ``ScoredRun``."""
        try:
            record = RunRecord.read(self._store.get(layout.RUN))
        except (ObjectMissing, ValueError):
            # A run without its record is still compared; which benchmark a task belongs to is then not known.
            return facts_of(self._results, "EvalRun")
        model = record.model
        samples = {
            benchmark.resolved_name: None if benchmark.sample is None else benchmark.sample.to_dict()
            for benchmark in record.spec.benchmarks
        }
        benchmark_of = {task: of_task.benchmark for task, of_task in record.tasks.items()}
        identity = model.digest or model.revision or model.listing or ""
        return facts_of(self._results, "EvalRun", RunOrigin(benchmark_of, samples, identity))

    @cached_property
    def tasks(self) -> Sequence[str]:
        """See ``ScoredRun``."""
        return list(self._chunks)

    @property
    def key_kinds(self) -> Sequence[KeyKind]:
        """See ``ScoredRun``."""
        return (KeyKind.ITEM, KeyKind.PROMPT, KeyKind.DOCUMENT)

    def scores(self, task: str) -> ItemScores:
        """See ``ScoredRun``."""
        columns, digest, sizes, cut = ScoreColumns[str](_decode), hashlib.sha256(), [], []
        for part, (texts, cut_here) in self._parts(task, lambda part: (part.scores(), part.cut_thinking())):
            digest.update(f"{part.size} {part.digest}\n".encode())
            sizes.append(part.size)
            columns.add_all(texts)
            cut.append(cut_here)
        self._sizes[task] = list(accumulate(sizes))
        self._cut[task] = [flag for flags in cut for flag in flags]
        if (scored := self._accounts.get(task, sum(sizes))) != sum(sizes):
            raise LedgerCorrupt(
                f"{self._store.uri}{layout.PARTS}: parts of task {task} are missing: {counted(sum(sizes))} there, "
                f"and the results are made of {scored:,}"
            )
        return columns.finish(digest.hexdigest())

    def cut(self, task: str) -> BoolArray | None:
        """Return whether each item's answer was cut in its thinking or after it, None where none was.

        Args:
            task: A task whose ``scores`` were read.
        """
        flags = self._cut[task]
        return np.array(flags) if any(flags) else None

    def keys(self, task: str, kind: KeyKind) -> KeyArray:
        """See ``ScoredRun``."""
        match kind:
            case KeyKind.ITEM:
                hashes = [keys_of_hashes(found) for _, found in self._parts(task, OpenPart.hashes)]
                return np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
            case KeyKind.PROMPT | KeyKind.DOCUMENT:
                return self._manifest_keys(task, kind)
            case KeyKind.NAME:
                raise ValueError("items of a run have no names")

    def clusters(self, task: str) -> IntArray | None:
        """See ``ScoredRun``."""
        field = cluster_field(self._results, task)
        return None if field is None else cluster_numbers(item.doc.get(field) for item in self._planned(task))

    def names(self, task: str, rows: Sequence[int]) -> list[str]:
        """See ``ScoredRun``."""
        of_part = self._by_part(task, rows)
        found = {number: OpenPart.doc_ids(self._open(task, number)) for number, _ in of_part}
        return [f"document {found[number][row]}" for number, row in of_part]

    def texts(self, task: str, rows: Sequence[int]) -> list[ItemText]:
        """See ``ScoredRun``."""
        of_part = self._by_part(task, rows)
        found = {
            chunk.number: (items, self._ledger.read_part(chunk).rows)
            for chunk, items in self._items(task, {number for number, _ in of_part})
        }
        return [_text(found[number][0][row], found[number][1][row]) for number, row in of_part]

    @cached_property
    def _chunks(self) -> Mapping[str, list[int]]:
        """Numbers of the committed chunks of each task, in order."""
        found: dict[str, list[int]] = {}
        for task, number in self._ledger.counted_parts():
            found.setdefault(task, []).append(number)
        if missing := [task for task, items in self._accounts.items() if items and task not in found]:
            raise LedgerCorrupt(f"{self._store.uri}{layout.PARTS} has no part of task {listed(missing, 3)}")
        return found

    @cached_property
    def _accounts(self) -> Mapping[str, int]:
        """Number of items of each task that the results are made of, as far as they say it."""
        own = self._results.get("evalrun")
        tasks = own.get("tasks") if isinstance(own, dict) else None
        return {
            str(task): sum(int(account.get(end, 0)) for end in ("ok", "failed", "quarantined"))
            for task, account in (tasks if isinstance(tasks, dict) else {}).items()
            if isinstance(account, dict)
        }

    def _open(self, task: str, number: int) -> OpenPart:
        key = layout.part(task, number)
        return OpenPart.open(self._store.get(key), f"{self._store.uri}{key}")

    def _parts(self, task: str, read: Callable[[OpenPart], T]) -> Iterator[tuple[OpenPart, T]]:
        """Read something of every part of a task in order."""

        def one(number: int) -> tuple[OpenPart, T]:
            part = self._open(task, number)
            return part, read(part)

        if self._store.uri.startswith("file:"):
            # What takes time is decoding, which threads do not make faster.
            yield from map(one, self._chunks[task])
            return
        yield from in_order(self._chunks[task], one)

    def _by_part(self, task: str, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Return (chunk, row within it) of each row of the task."""
        if task not in self._sizes:
            self._sizes[task] = list(accumulate(part.size for part, _ in self._parts(task, lambda part: part.size)))
        ends = self._sizes[task]
        places = [(place := bisect_right(ends, row), row - (ends[place - 1] if place else 0)) for row in rows]
        return [(self._chunks[task][place], within) for place, within in places]

    def _items(self, task: str, numbers: Container[int]) -> Iterator[tuple[Chunk, list[Item]]]:
        """Read the planned items of some chunks in order."""
        planned = self._ledger.planned_chunks(task)
        if not planned:
            raise LedgerCorrupt(f"{self._store.uri}{layout.task_index(task)} is not there, though the run is complete")
        wanted = (chunk for chunk in planned if chunk.number in numbers)
        for segment, chunks in groupby(wanted, key=attrgetter("segment")):
            opened = self._ledger.open_segment(task, segment)
            for chunk in chunks:
                yield chunk, opened.items(chunk)

    def _planned(self, task: str) -> Iterator[Item]:
        """Read every item of a task that the run is made of, in order."""
        for _, items in self._items(task, set(self._chunks[task])):
            yield from items

    def _manifest_keys(self, task: str, kind: KeyKind) -> KeyArray:
        """Return keys by lm-eval's hashes; every planned document is decoded."""
        documents: list[str] = []
        prompts: list[str] = []
        for item in self._planned(task):
            documents.append(document_hash(item.doc))
            prompts.append(text_hash(_prompt(item)))
        keys = keys_of_hashes(documents)
        return combined(keys, keys_of_hashes(prompts)) if kind is KeyKind.PROMPT else keys


def _decode(text: str) -> ItemValues:
    found = values.decode(text)
    return {MetricName(metric, name): value for name, metrics in found.items() for metric, value in metrics.items()}


def _document(data: bytes, where: str) -> Mapping[str, object]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise LedgerCorrupt(f"{where} is damaged: it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise LedgerCorrupt(f"{where} is damaged: it is no JSON object")
    return cast("Mapping[str, object]", found)


def _prompt(item: Item) -> str:
    return str(item.requests[0].arguments[0]) if item.requests else ""


def _text(item: Item, result: ItemResult) -> ItemText:
    target = item.doc.get("answer", item.doc.get("target", ""))
    answer = answer_of(item, result) if result.outcome.responses else ""
    return ItemText(f"document {item.doc_id}", _prompt(item), str(target), answer)
