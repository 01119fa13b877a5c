"""Samples that lm-eval wrote of one task: ``samples_<task>_<time>.jsonl``, a line for each document and filter.

Of a line only its end is parsed, which holds hashes and metric values; prompts and documents before it are many times
longer. lm-eval has written other layouts, and other programs write these files, too: a line whose end is not as
expected is parsed as a whole.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from evalrun_runner.comparing.columns import ItemValues, ScoreColumns
from evalrun_runner.comparing.keys import DIGITS, combined, document_hash, keys_of_digits, text_hash
from evalrun_runner.comparing.scored import FloatArray, IntArray, ItemScores, ItemText, KeyArray, KeyKind, MetricName
from evalrun_runner.errors import InputError

Sample = Mapping[str, object]

_DOCUMENT = b'{"doc_id": '
_END = re.compile(
    rb', "filter": "([^"\\]*)", "metrics": \[[^\]]*\], "doc_hash": "([0-9a-f]{64})", '
    rb'"prompt_hash": "([0-9a-f]{64})", "target_hash": "[0-9a-f]{64}", (.*)\}\s*\Z',
    re.DOTALL,
)
_FILTER = b', "filter": "'
"""Beginning of the end. It cannot be inside a JSON text, where a quote has a backslash before it."""
_LABELS = "evalrun"
"""Key of EvalRun's own in a sample, after the metrics: clusters, strata and tags."""
_BLOCK = 1 << 16
"""Hashes that become keys together."""
_NOT_METRICS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash"}
    | {"target_hash", _LABELS}
)


class TaskSamples:
    """Samples of one task; lines of one document by several filters are one item."""

    def __init__(self, file: Path) -> None:
        """Read a file.

        Raises:
            InputError: A line of it is no sample; the message names the line.
        """
        self.doc_ids = array("q")
        self._file = file
        self._documents = _KeyColumn()
        self._prompts = _KeyColumn()
        self._starts = array("q")
        """Where the first line of each item begins, in bytes."""
        self._filters: dict[bytes, _FilterScores] = {}
        self._places: dict[tuple[int, int], int] | None = None
        """Items by number and document; made when a second filter comes."""
        try:
            self._read()
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error}") from error

    def scores(self) -> ItemScores:
        """Return the scores of the items in the order of their first lines."""
        size = len(self.doc_ids)
        found = [one.scores(size) for one in self._filters.values()]
        return ItemScores(
            values={name: column for one in found for name, column in one.values.items()},
            labels={name: labels for one in found for name, labels in one.labels.items()},
            unusable={name: why for one in found for name, why in one.unusable.items()},
            size=size,
        )

    def keys(self, kind: KeyKind) -> KeyArray:
        """Return the keys of the items."""
        documents = self._documents.finish()
        return documents if kind is KeyKind.DOCUMENT else combined(documents, self._prompts.finish())

    def values_of(self, field: str) -> Iterator[object]:
        """Read a field of each item's document; lines are parsed as a whole for it."""
        with self._file.open("rb") as file:
            for start in self._starts:
                file.seek(start)
                document = json.loads(file.readline()).get("doc")
                yield document.get(field) if isinstance(document, dict) else None

    def texts(self, rows: Sequence[int]) -> list[ItemText]:
        """Return a few items for people."""
        with self._file.open("rb") as file:
            found = []
            for row in rows:
                file.seek(self._starts[row])
                found.append(_text(cast("Sample", json.loads(file.readline()))))
            return found

    def _read(self) -> None:
        start, first = 0, len(_DOCUMENT)
        with self._file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                place = line.rfind(_FILTER)
                end = _END.match(line, place) if place > 0 and line.startswith(_DOCUMENT) else None
                if end is not None:
                    name, document, prompt, values = end.groups()
                    self._add(start, name, _Line(int(line[first : line.index(b",")]), document, prompt), values)
                elif line.strip():
                    self._add_whole(start, number, line)
                start += len(line)

    def _add_whole(self, start: int, number: int, line: bytes) -> None:
        try:
            sample = cast("Sample", json.loads(line))
            doc_id = int(cast("int", sample["doc_id"]))
            document = _hash(sample, "doc_hash") or document_hash(cast("dict[str, object]", sample["doc"]))
            prompt = _hash(sample, "prompt_hash") or text_hash(_prompt(sample))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self._file}:{number}: this is no sample of lm-eval's: {error!r}") from error
        name, values = str(sample.get("filter", "none")), json.dumps(_metrics(sample))[1:-1]
        self._add(start, name.encode(), _Line(doc_id, document.encode(), prompt.encode()), values.encode())

    def _add(self, start: int, name: bytes, item: _Line, values: bytes) -> None:
        of_filter = self._filters.get(name)
        if of_filter is None:
            of_filter = self._filters[name] = _FilterScores(name.decode())
        place = len(self.doc_ids)
        if len(self._filters) > 1:
            if self._places is None:
                known = zip(self.doc_ids, self._documents.finish().tolist(), strict=True)
                self._places = {key: at for at, key in enumerate(known)}
            place = self._places.setdefault((item.doc_id, int(item.document[:DIGITS], 16)), place)
        if place == len(self.doc_ids):
            self.doc_ids.append(item.doc_id)
            self._documents.add(item.document)
            self._prompts.add(item.prompt)
            self._starts.append(start)
        of_filter.add(place, values)


class _Line(NamedTuple):
    """What tells the item of a line: its number, and the hashes of its document and prompt."""

    doc_id: int
    document: bytes
    prompt: bytes


class _KeyColumn:
    """Keys of items; hashes become keys in blocks, as a million texts would take a hundred megabytes."""

    def __init__(self) -> None:
        self._blocks: list[KeyArray] = []
        self._open: list[bytes] = []

    def add(self, digits: bytes) -> None:
        self._open.append(digits[:DIGITS])
        if len(self._open) >= _BLOCK:
            self._close()

    def finish(self) -> KeyArray:
        self._close()
        return np.concatenate(self._blocks) if self._blocks else np.empty(0, np.uint64)

    def _close(self) -> None:
        if self._open:
            self._blocks.append(keys_of_digits(b"".join(self._open).decode()))
            self._open.clear()


class _FilterScores:
    """Scores of the items after one filter."""

    def __init__(self, name: str) -> None:
        self._columns = ScoreColumns(self._decode)
        self._places = array("q")
        self._name = name

    def add(self, place: int, values: bytes) -> None:
        self._places.append(place)
        self._columns.add(values)

    def scores(self, size: int) -> ItemScores:
        """Return the scores, with nan for items that this filter has no line of."""
        found = self._columns.finish()
        places = np.array(self._places, dtype=np.int64)
        if len(places) == size and bool((places == np.arange(size)).all()):
            return found
        return ItemScores(
            values={name: _scattered(column, places, size) for name, column in found.values.items()},
            labels={},
            unusable=found.unusable,
            size=size,
        )

    def _decode(self, text: bytes) -> ItemValues:
        found = cast("Mapping[str, object]", json.loads(b"{" + text + b"}"))
        return {MetricName(metric, self._name): value for metric, value in found.items() if metric != _LABELS}


def _scattered(column: FloatArray, places: IntArray, size: int) -> FloatArray:
    whole = np.full(size, np.nan)
    whole[places] = column
    return whole


def _metrics(sample: Sample) -> dict[str, object]:
    """Return the metric values; lm-eval before 0.4.5 did not name the metrics among the keys."""
    named = sample.get("metrics")
    names = (
        [str(one) for one in named] if isinstance(named, list) else [one for one in sample if one not in _NOT_METRICS]
    )
    return {name: sample.get(name) for name in names}


def _hash(sample: Sample, key: str) -> str | None:
    found = sample.get(key)
    return found if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found) else None


def _prompt(sample: Sample) -> str:
    """Return the first prompt of a sample, in the layouts that lm-eval has had."""
    arguments = sample.get("arguments")
    if isinstance(arguments, dict) and arguments:
        first = next(iter(arguments.values()))
        return str(next(iter(first.values()))) if isinstance(first, dict) and first else ""
    if isinstance(arguments, list) and arguments and isinstance(arguments[0], list) and arguments[0]:
        return str(arguments[0][0])
    return ""


def _text(sample: Sample) -> ItemText:
    name, target = f"document {sample['doc_id']}", str(sample.get("target", ""))
    return ItemText(name, _prompt(sample), target, _choice(sample) or _first(sample.get("resps")))


def _first(answer: object) -> str:
    while isinstance(answer, list) and answer:
        answer = answer[0]
    return "" if answer in ([], None) else str(answer)


def _choice(sample: Sample) -> str:
    """Return the most likely choice, empty where the answer is a text."""
    responses, arguments = sample.get("resps"), sample.get("arguments")
    if not isinstance(responses, list) or not isinstance(arguments, dict) or not 1 < len(responses) <= len(arguments):
        return ""
    try:
        likely = [float(_first(one)) for one in responses]
    except ValueError:
        return ""
    best = likely.index(max(likely))
    asked = list(arguments.values())[best]
    text = str(list(asked.values())[-1]).strip() if isinstance(asked, dict) and asked else f"choice {best + 1}"
    return f"{text} (log-probability {likely[best]:.2f})"
