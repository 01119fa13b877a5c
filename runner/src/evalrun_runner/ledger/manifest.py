"""Manifest: every planned item with its requests, in segments, and one index for each leaf task.

A segment is a sealed Parquet file with one row per item; ``doc`` and ``requests`` are JSON texts, and ``texts`` has the
long texts that an item's requests share. The chunk table is in the metadata. Equal plans give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.codec import Texts, pack, to_json, unpack
from evalrun_runner.ledger.sealed import FLOAT, INT, TEXT, Column, SealedFile, write_sealed
from evalrun_runner.records.plan import Chunk, Item, PlanNote, Request, RequestType

_KIND = "manifest segment"
_ROWS_PER_GROUP = 128
"""Rows per row group: a lease reads one or two groups, and smaller ones compress worse as few-shot examples repeat."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Decoded segment: whole chunks of one leaf task."""

    items: tuple[Item, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class TaskIndex:
    """Index of a leaf task, written when its manifest is complete."""

    task: str
    segments: int
    items: int
    chunks: int
    cost: float
    digest: str
    """``chunk_digest`` of the digests of all chunks."""
    notes: tuple[PlanNote, ...] = ()
    """What was noted of its documents while they were planned."""


def hash_item(task: str, doc_id: int, doc: Mapping[str, Any], requests: Sequence[Request]) -> str:
    """Compute the sha256 (hex) of a planned item's canonical JSON, in which NaN and the infinities are allowed.

    Raises:
        InputError: JSON cannot represent a value; the message names task, document and field.
    """
    where = f"task {task}, document {doc_id}: "
    packed = [[r.type.value, r.index, r.repeats, _pack_arguments(r, where)] for r in requests]
    canonical = json.dumps([task, doc_id, pack(doc, where + "doc"), packed], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def chunk_digest(hashes: Iterable[str]) -> str:
    """Compute the sha256 (hex) over hashes in order: those of a chunk's items, or of a task's chunks."""
    digest = hashlib.sha256()
    for one in hashes:
        digest.update(one.encode() + b"\n")
    return digest.hexdigest()


def encode_segment(items: Sequence[Item], chunks: Sequence[Chunk]) -> bytes:
    """Encode a segment.

    Args:
        items: The segment's items, all of one task.
        chunks: The chunks, which cover the items without a gap.

    Raises:
        InputError: JSON cannot represent a value.
        LedgerCorrupt: The chunks do not match the items.
    """
    _check_chunks(items, chunks)
    rows = [_encode_item(item) for item in items]
    meta = {
        "task": chunks[0].task,
        "segment": chunks[0].segment,
        "chunks": [[chunk.number, chunk.first_row, chunk.items, chunk.cost, chunk.digest] for chunk in chunks],
    }
    columns = [
        Column("doc_id", INT, [item.doc_id for item in items]),
        Column("chunk", INT, [chunk.number for chunk in chunks for _ in range(chunk.items)]),
        Column("hash", TEXT, [item.hash for item in items]),
        Column("cost", FLOAT, [item.cost for item in items]),
        Column("doc", TEXT, [doc for doc, _, _ in rows]),
        Column("requests", TEXT, [requests for _, requests, _ in rows]),
        Column("texts", TEXT, [texts for _, _, texts in rows]),
        Column("fault", TEXT, [item.fault for item in items]),
    ]
    return write_sealed(_KIND, meta, columns, _ROWS_PER_GROUP)


def decode_segment(data: bytes, where: str = "the manifest segment") -> Segment:
    """Decode a segment.

    Raises:
        LedgerCorrupt: The segment is damaged; the message names ``where``.
    """
    file = SealedFile(data, _KIND, where)
    items = tuple(_decode_item(file.meta["task"], row) for row in file.rows(0, file.row_count))
    return Segment(items, _chunks(file))


def decode_chunks(data: bytes, where: str = "the manifest segment") -> tuple[Chunk, ...]:
    """Decode the chunk table of a segment without its items.

    Raises:
        LedgerCorrupt: The segment is damaged; the message names ``where``.
    """
    return _chunks(SealedFile(data, _KIND, where))


class OpenSegment:
    """A segment whose seal was verified once: its chunks are decoded one by one."""

    def __init__(self, data: bytes, where: str = "the manifest segment") -> None:
        """Open a segment.

        Args:
            data: Its content.
            where: The object, for messages.

        Raises:
            LedgerCorrupt: It is damaged.
        """
        self._file = SealedFile(data, _KIND, where)
        self._where = where

    def rows(self, first_row: int, count: int) -> list[Item]:
        """Decode some rows. Raises ``LedgerCorrupt`` if the segment has too few."""
        there = self._file.row_count
        if first_row < 0 or count < 0 or first_row + count > there:
            raise LedgerCorrupt(f"{self._where} has {there} rows; {count} were wanted from row {first_row} on")
        return [_decode_item(self._file.meta["task"], row) for row in self._file.rows(first_row, count)]

    def doc_ids(self) -> list[int]:
        """Return the document's number of each row."""
        return self._file.columns("doc_id")[0]

    def chunks(self) -> tuple[Chunk, ...]:
        """Return the segment's chunks."""
        return _chunks(self._file)

    def items(self, chunk: Chunk) -> list[Item]:
        """Decode the items of a chunk. Raises ``LedgerCorrupt`` if they are not those of its digest."""
        items = self.rows(chunk.first_row, chunk.items)
        if chunk_digest(item.hash for item in items) != chunk.digest:
            raise LedgerCorrupt(
                f"{self._where} holds other items than those planned for chunk {chunk.number}: it is another plan's"
            )
        return items


def decode_rows(data: bytes, first_row: int, count: int, where: str = "the manifest segment") -> list[Item]:
    """Decode only some rows of a segment, for a lease.

    Raises:
        LedgerCorrupt: The segment is damaged or has too few rows; the message names ``where``.
    """
    return OpenSegment(data, where).rows(first_row, count)


def decode_chunk(data: bytes, chunk: Chunk, where: str = "the manifest segment") -> list[Item]:
    """Decode the items of a chunk and check them against its digest.

    Raises:
        LedgerCorrupt: The segment is damaged, or of another plan; the message names ``where``.
    """
    return OpenSegment(data, where).items(chunk)


def encode_index(index: TaskIndex) -> bytes:
    """Encode an index as JSON with its own checksum."""
    fields = asdict(index)
    return (json.dumps({**fields, "sha256": _checksum(fields)}, indent=1) + "\n").encode()


def decode_index(data: bytes, where: str = "the task's index") -> TaskIndex:
    """Decode an index.

    Raises:
        LedgerCorrupt: The index is damaged; the message names ``where``.
    """
    try:
        fields = json.loads(data)
        written = fields.pop("sha256")
        notes = tuple(PlanNote(**note) for note in fields.get("notes", ()))
        index = TaskIndex(**{**fields, "notes": notes})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerCorrupt(f"{where} is damaged: it is no index of a task ({error})") from error
    if written != _checksum(fields):
        raise LedgerCorrupt(f"{where} is damaged: its fields do not have the sha256 that was written, {written}")
    return index


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _pack_arguments(request: Request, where: str, texts: Texts | None = None) -> list[Any]:
    """Convert a request's arguments to a JSON list; see ``pack``."""
    field = f"{where}requests[{request.index}].arguments"
    return [pack(one, f"{field}[{n}]", texts) for n, one in enumerate(request.arguments)]


def _encode_item(item: Item) -> tuple[str, str, str]:
    """Encode an item as JSON texts (doc, requests, texts)."""
    where = f"task {item.task}, document {item.doc_id}: "
    texts = Texts()
    requests = [
        {
            "type": request.type.value,
            "index": request.index,
            "repeats": request.repeats,
            "arguments": _pack_arguments(request, where, texts),
        }
        for request in item.requests
    ]
    return to_json(pack(item.doc, where + "doc")), to_json(requests), to_json(texts.table)


def _decode_item(task: str, row: dict[str, Any]) -> Item:
    texts: list[str] = json.loads(row["texts"])
    requests = tuple(
        Request(
            type=RequestType(request["type"]),
            index=request["index"],
            arguments=tuple(unpack(request["arguments"], texts)),
            repeats=request["repeats"],
        )
        for request in json.loads(row["requests"])
    )
    doc = unpack(json.loads(row["doc"]))
    return Item(
        task=task,
        doc_id=row["doc_id"],
        doc=doc,
        requests=requests,
        hash=row["hash"],
        cost=row["cost"],
        fault=row.get("fault"),  # there was no such column at first
    )


def _chunks(file: SealedFile) -> tuple[Chunk, ...]:
    task, segment = file.meta["task"], file.meta["segment"]
    return tuple(
        Chunk(task=task, number=number, segment=segment, first_row=first, items=items, cost=cost, digest=digest)
        for number, first, items, cost, digest in file.meta["chunks"]
    )


def _check_chunks(items: Sequence[Item], chunks: Sequence[Chunk]) -> None:
    """Check that the chunks match the items, so that readers can trust the segment."""
    row = 0
    for chunk in chunks:
        mine = items[chunk.first_row : chunk.first_row + chunk.items]
        whole = chunk.first_row == row and len(mine) == chunk.items > 0
        if not whole or any(item.task != chunk.task for item in mine) or chunk.segment != chunks[0].segment:
            raise LedgerCorrupt(
                f"chunk {chunk.number} of task {chunk.task} does not follow its segment's chunks without a gap"
            )
        if chunk_digest(item.hash for item in mine) != chunk.digest:
            raise LedgerCorrupt(f"chunk {chunk.number} of task {chunk.task} has another digest than its items")
        row += chunk.items
    if not chunks or row != len(items) or any(chunk.task != chunks[0].task for chunk in chunks):
        raise LedgerCorrupt(f"a manifest segment of {len(items)} items has chunks for {row}; expected all, of one task")
