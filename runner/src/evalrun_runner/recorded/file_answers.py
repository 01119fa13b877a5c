"""Answers made elsewhere, in a JSON Lines file: one object a line, with ``id`` and ``text``.

``id`` is the number of the document in its task's data, from 0. ``task`` names the leaf task, and may be left out where
the run has one alone. ``prompt`` is the text that was asked, or ``prompt_hash`` its sha256: where it is given, the
answer is taken only for the same prompt. ``finish_reason`` says how the answer ended (``stop`` by default). Other keys
are ignored.

Memory holds two integers an answer; the texts stay in the file.
"""

from __future__ import annotations

import json
import weakref
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from evalrun_runner.errors import InputError, listed
from evalrun_runner.recorded.no_answer import no_answer
from evalrun_runner.records.answers import answer_of
from evalrun_runner.records.plan import Item, RequestType, hash_text
from evalrun_runner.records.results import ItemStatus, Outcome, Response

MOST_LINE_BYTES = 64 * 1024 * 1024
MOST_NAMED = 6
"""Answers that a message names."""
_LARGEST_ID = 2**53
ANY_TASK = ""


@dataclass(frozen=True, slots=True)
class _Index:
    ids: np.ndarray[Any, np.dtype[np.int64]]
    """Ids in ascending order."""
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    """Where their lines begin."""


class FileAnswers:
    """Reader of a file of answers. Not thread-safe."""

    def __init__(self, file: Path) -> None:
        """Read the file once, and remember where each answer is.

        Raises:
            InputError: A line is no answer, or two are to one document; the message names lines.
        """
        self._file = file
        self._indexes = dict(_indexes(file))
        self._open: IO[bytes] = file.open("rb")
        # An intake has no end of its own: the file is closed with the last reader of its answers.
        weakref.finalize(self, self._open.close)

    def ids(self, task: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the ids of a task's answers in ascending order."""
        index = self._indexes.get(task) or self._indexes.get(ANY_TASK)
        return np.zeros(0, dtype=np.int64) if index is None else index.ids

    @property
    def named_tasks(self) -> frozenset[str]:
        """Tasks that lines name."""
        return frozenset(self._indexes) - {ANY_TASK}

    @property
    def has_unnamed(self) -> bool:
        """Whether there are lines that name no task."""
        return ANY_TASK in self._indexes

    def outcome(self, item: Item) -> Outcome:
        """Return an item's answer."""
        index = self._indexes.get(item.task) or self._indexes.get(ANY_TASK)
        place = -1 if index is None else int(np.searchsorted(index.ids, item.doc_id))
        if index is None or place >= len(index.ids) or index.ids[place] != item.doc_id:
            return no_answer(f"{self._file.name} has no answer with id {item.doc_id} for task {item.task}")
        if len(item.requests) != 1 or item.requests[0].type is not RequestType.GENERATE_UNTIL:
            return no_answer("the task asks for log-probabilities, and the file has texts")
        if item.requests[0].repeats != 1:
            return no_answer(f"the task asks for {item.requests[0].repeats} answers, and the file has one")
        self._open.seek(int(index.offsets[place]))
        answer = json.loads(self._open.readline())
        if (why := _other_prompt(item, answer)) is not None:
            return no_answer(why)
        responses = ((Response(answer["text"], str(answer.get("finish_reason", "stop")), 0, 0),),)
        return Outcome(ItemStatus.OK, responses, answer=answer_of(responses))


def _other_prompt(item: Item, answer: Mapping[str, Any]) -> str | None:
    given = answer.get("prompt_hash")
    if isinstance(answer.get("prompt"), str):
        given = hash_text(answer["prompt"])
    if given is None or given == item.prompt_hash:
        return None
    return (
        f"the answer is to another prompt: its sha256 is {str(given)[:16]}…, the item's {str(item.prompt_hash)[:16]}…"
    )


def _indexes(file: Path) -> Iterator[tuple[str, _Index]]:
    ids: dict[str, array[int]] = {}
    offsets: dict[str, array[int]] = {}
    with file.open("rb") as lines:
        offset = 0
        for number, line in enumerate(iter(lambda: lines.readline(MOST_LINE_BYTES), b""), start=1):
            if line.strip():
                task, doc_id = _parse(line, f"{file}, line {number}")
                ids.setdefault(task, array("q")).append(doc_id)
                offsets.setdefault(task, array("q")).append(offset)
            offset += len(line)
    if not ids:
        raise InputError(f"{file} has no answers; expected one JSON object with id and text a line")
    if ANY_TASK in ids and len(ids) > 1:
        named = sorted(set(ids) - {ANY_TASK})
        raise InputError(
            f"{file}: {len(ids[ANY_TASK]):,} answers name no task, and others name {listed(named, MOST_NAMED)}; "
            "expected `task` in all lines or in none"
        )
    for task, of_task in ids.items():
        order = np.argsort(np.frombuffer(of_task, dtype=np.int64), kind="stable")
        found = np.frombuffer(of_task, dtype=np.int64)[order]
        again = np.unique(found[1:][found[1:] == found[:-1]])
        if len(again):
            named = [str(one) for one in again[:MOST_NAMED].tolist()]
            what = f" of task {task}" if task else ""
            raise InputError(
                f"{file}: {len(again):,} documents{what} have more than one answer: id {listed(named, MOST_NAMED)}; "
                "expected one a document\nhint: remove those that were not meant"
            )
        yield task, _Index(found, np.frombuffer(offsets[task], dtype=np.int64)[order])


def _parse(line: bytes, where: str) -> tuple[str, int]:
    """Return task and id of a line. Raises ``InputError`` if it is no answer."""
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is no JSON ({error}); expected an object with id and text") from error
    if not isinstance(answer, dict):
        raise InputError(f"{where} is a {type(answer).__name__}; expected an object with id and text")
    doc_id, text, task = answer.get("id"), answer.get("text"), answer.get("task", ANY_TASK)
    if type(doc_id) is not int or not 0 <= doc_id <= _LARGEST_ID:
        raise InputError(f"{where}: id is {doc_id!r:.60}; expected the number of a document, from 0")
    if not isinstance(text, str):
        raise InputError(f"{where}: text is {text!r:.60}; expected the answer as text, which may be empty")
    if not isinstance(task, str):
        raise InputError(f"{where}: task is {task!r:.60}; expected the name of a task")
    return task, doc_id
