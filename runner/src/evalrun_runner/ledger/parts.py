"""Parts: the committed results of one chunk each, as sealed Parquet files with one row per item.

``responses``, ``filtered`` and ``scores`` (JSON texts) are exact. Plain columns for people and tools accompany them:
``task``, ``prompt_hash``, ``target``, ``response`` (text of the first response), ``thought`` and ``finish_reason`` (of
the first), ``answer`` (how the item's answer ended, see ``Answer``), token counts (sums over all responses),
``seconds`` (the longest), ``executions`` (how the programs ended that the scores ran), and one of each filter and each
metric (``plain``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from typing import Any

from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.codec import escaped, to_json
from evalrun_runner.ledger.manifest import chunk_digest
from evalrun_runner.ledger.plain import plain_columns
from evalrun_runner.ledger.sealed import FLOAT, INT, TEXT, Column, SealedFile, write_sealed
from evalrun_runner.records.answers import answer_of
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import Answer, ItemCounts, ItemResult, ItemStatus, Outcome, Response

_KIND = "part"
_NAMES = tuple(field.name for field in fields(Response))
_VALUES = attrgetter(*_NAMES)
_THINKING = ("thought", "thought_tokens", "in_thought")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writer of a part."""

    replica: str
    """Name of the replica, unique among all writers of a run."""
    engine: str
    """``vllm`` or ``mock``."""


@dataclass(frozen=True, slots=True)
class Part:
    """Decoded part: the results of a chunk's items, in the chunk's order."""

    chunk: Chunk
    rows: tuple[ItemResult, ...]
    writer: Writer

    @property
    def counts(self) -> ItemCounts:
        """Counts of how its items ended."""
        return count(self.rows)


def count(rows: Sequence[ItemResult]) -> ItemCounts:
    """Count items by status, and the ok ones by their answers."""
    by_status = Counter(row.outcome.status for row in rows)
    by_answer = Counter(row.outcome.answer for row in rows if row.outcome.status is ItemStatus.OK)
    return ItemCounts(
        ok=by_status[ItemStatus.OK],
        failed=by_status[ItemStatus.FAILED],
        quarantined=by_status[ItemStatus.QUARANTINED],
        truncated=by_answer[Answer.TRUNCATED],
        refused=by_answer[Answer.REFUSED],
        filtered=by_answer[Answer.FILTERED],
        empty=by_answer[Answer.EMPTY],
    )


def encode_part(chunk: Chunk, rows: Sequence[ItemResult], writer: Writer) -> bytes:
    """Encode a part; equal arguments give equal bytes.

    Lone surrogates in ``error``, ``scores``, ``filtered`` and ``target`` are escaped (in JSON, the same value);
    everything else is restored exactly.

    Args:
        chunk: The chunk.
        rows: The results of all the chunk's items, in order.
        writer: The part's writer.

    Raises:
        LedgerCorrupt: The rows are not those of the chunk's items.
    """
    _check_rows(chunk, rows, f"the part to be written for chunk {chunk.number} of task {chunk.task}")
    responses = [[one for request in row.outcome.responses for one in request] for row in rows]
    first = [of_row[0] if of_row else None for of_row in responses]
    columns = [
        Column("task", TEXT, [chunk.task] * len(rows)),
        Column("doc_id", INT, [row.doc_id for row in rows]),
        Column("item_hash", TEXT, [row.item_hash for row in rows]),
        Column("prompt_hash", TEXT, [row.prompt_hash for row in rows]),
        Column("target", TEXT, [_optional(row.target) for row in rows]),
        Column("status", TEXT, [row.outcome.status.value for row in rows]),
        Column("error", TEXT, [_optional(row.outcome.error) for row in rows]),
        Column("response", TEXT, [None if one is None else _plain(one.value) for one in first]),
        Column("thought", TEXT, [None if one is None else _optional(one.thought) for one in first]),
        Column("finish_reason", TEXT, [None if one is None else escaped(one.finish_reason) for one in first]),
        Column("answer", TEXT, [row.outcome.answer for row in rows]),
        Column("prompt_tokens", INT, [sum(one.prompt_tokens for one in of_row) for of_row in responses]),
        Column("output_tokens", INT, [sum(one.output_tokens for one in of_row) for of_row in responses]),
        Column("thought_tokens", INT, [sum(one.thought_tokens for one in of_row) for of_row in responses]),
        Column("cached_tokens", INT, [sum(one.cached_tokens for one in of_row) for of_row in responses]),
        Column("seconds", FLOAT, [max((one.seconds for one in of_row), default=0.0) for of_row in responses]),
        Column("responses", TEXT, [_encode_responses(row.outcome) for row in rows]),
        Column("filtered", TEXT, [_optional(row.filtered) for row in rows]),
        Column("scores", TEXT, [_optional(row.scores) for row in rows]),
        Column("executions", TEXT, [row.executions for row in rows]),
        *plain_columns(rows),
    ]
    meta = {"task": chunk.task, "chunk": chunk.number, "digest": chunk.digest, "writer": asdict(writer)}
    return write_sealed(_KIND, meta, columns, rows_per_group=len(rows))


def decode_part(data: bytes, chunk: Chunk, where: str = "the part") -> Part:
    """Decode a part.

    Raises:
        LedgerCorrupt: The part is damaged or was made for other items; the message names ``where``.
    """
    file = SealedFile(data, _KIND, where)
    made_for = (file.meta["task"], file.meta["chunk"], file.meta["digest"])
    if made_for != (chunk.task, chunk.number, chunk.digest):
        raise LedgerCorrupt(
            f"{where} was made for chunk {made_for[1]} of task {made_for[0]} with digest {made_for[2]}; expected chunk "
            f"{chunk.number} of task {chunk.task} with digest {chunk.digest}. It belongs to another plan"
        )
    rows = tuple(_decode_row(row) for row in file.rows(0, file.row_count))
    _check_rows(chunk, rows, where)
    return Part(chunk, rows, Writer(**file.meta["writer"]))


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part whose seal was verified: its columns are read one by one, without its chunk's manifest."""

    task: str
    number: int
    """Number of the chunk."""
    digest: str
    """Digest of the chunk's items in their order."""
    file: SealedFile

    @classmethod
    def open(cls, data: bytes, where: str = "the part") -> OpenPart:
        """Open a part.

        Raises:
            LedgerCorrupt: The part is damaged; the message names ``where``.
        """
        file = SealedFile(data, _KIND, where)
        return cls(file.meta["task"], file.meta["chunk"], file.meta["digest"], file)

    @property
    def size(self) -> int:
        """Number of items."""
        return self.file.row_count

    def scores(self) -> list[str | None]:
        """Return the text of each item's scores, in the codec of ``benchmarks.values``; None for one that has none."""
        return self.file.columns("scores")[0]

    def cut_thinking(self) -> list[bool]:
        """Return whether each item's answer was cut in its thinking or after it (``records.answers.cut_thinking``)."""
        # Parts that were written before answers were looked at lack the columns.
        tokens = self.file.columns("thought_tokens")[0] if self.file.has("thought_tokens") else []
        if not any(tokens):
            return [False] * self.size
        (answers,) = self.file.columns("answer")
        return [answer == Answer.TRUNCATED and spent > 0 for answer, spent in zip(answers, tokens, strict=True)]

    def hashes(self) -> list[str]:
        """Return the hash of each item."""
        return self.file.columns("item_hash")[0]

    def doc_ids(self) -> list[int]:
        """Return the document's number of each item."""
        return self.file.columns("doc_id")[0]

    def statuses(self) -> list[str]:
        """Return how each item ended."""
        return self.file.columns("status")[0]

    def prompt_hashes(self) -> list[str | None]:
        """Return the hash of each item's prompt; None for an item without, and in parts of before there was one."""
        return self.file.columns("prompt_hash")[0] if self.file.has("prompt_hash") else [None] * self.size


def _check_rows(chunk: Chunk, rows: Sequence[ItemResult], where: str) -> None:
    if len(rows) != chunk.items or chunk_digest(row.item_hash for row in rows) != chunk.digest:
        raise LedgerCorrupt(
            f"{where} holds {len(rows)} rows that are not the chunk's {chunk.items} items in their order"
        )


def _encode_responses(outcome: Outcome) -> str:
    return to_json([[_fields(response) for response in request] for request in outcome.responses])


def _fields(response: Response) -> dict[str, Any]:
    """Return a response's fields; those of thinking only where there is some: earlier versions read all other parts."""
    found = dict(zip(_NAMES, _VALUES(response), strict=True))
    if response.thought is None and not response.in_thought:
        for name in _THINKING:
            del found[name]
    return found


def _decode_row(row: dict[str, Any]) -> ItemResult:
    status = ItemStatus(row["status"])
    responses = tuple(
        tuple(Response(**{**response, "value": _value(response["value"])}) for response in request)
        for request in json.loads(row["responses"])
    )
    return ItemResult(
        doc_id=row["doc_id"],
        item_hash=row["item_hash"],
        outcome=Outcome(status, responses, row["error"], _answer(row, status, responses)),
        scores=row["scores"],
        filtered=row["filtered"],
        prompt_hash=row.get("prompt_hash"),  # there were no such columns at first
        target=row.get("target"),
        executions=row.get("executions"),
    )


def _answer(row: Mapping[str, Any], status: ItemStatus, responses: tuple[tuple[Response, ...], ...]) -> Answer | None:
    """Return how a row's answer ended; parts that were written before the column was do not say it."""
    if "answer" in row:
        return None if row["answer"] is None else Answer(row["answer"])
    return answer_of(responses) if status is ItemStatus.OK else None


def _value(value: Any) -> Any:
    """Convert a response's value to lm-eval's shape, because JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _plain(value: str | tuple[float, bool] | float) -> str:
    return escaped(value) if isinstance(value, str) else json.dumps(value)


def _optional(text: str | None) -> str | None:
    return None if text is None else escaped(text)
