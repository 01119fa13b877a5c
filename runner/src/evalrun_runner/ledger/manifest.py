"""The manifest: every planned item with its requests, in segments, and one index for each leaf task.

A segment is a sealed Parquet file, one row for each item; ``doc`` and ``requests`` are JSON text, and ``texts`` holds
the long texts that an item's requests share. The chunk table is in the metadata. The same plan makes the same bytes.
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
from evalrun_runner.records.plan import Chunk, Item, Request, RequestType

_KIND = "manifest segment"
_ROWS_PER_GROUP = 128
"""A lease reads one or two row groups of a segment; fewer rows compress worse, since few-shot examples repeat."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A decoded segment: whole chunks of one leaf task."""

    items: tuple[Item, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class TaskIndex:
    """Written when a leaf task's manifest is whole. ``digest`` is the ``chunk_digest`` of its chunks' digests."""

    task: str
    segments: int
    items: int
    chunks: int
    cost: float
    digest: str


def hash_item(task: str, doc_id: int, doc: Mapping[str, Any], requests: Sequence[Request]) -> str:
    """sha256 (hex) over the canonical JSON of a planned item.

    Raises ``InputError`` naming task, document and field for values that JSON cannot hold. NaN and infinities are fine.
    """
    where = f"task {task}, document {doc_id}: "
    packed = [[r.type.value, r.index, r.repeats, _pack_arguments(r, where)] for r in requests]
    canonical = json.dumps([task, doc_id, pack(doc, where + "doc"), packed], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def chunk_digest(hashes: Iterable[str]) -> str:
    """sha256 (hex) over hashes in order: of a chunk's items, and of a task's chunks."""
    digest = hashlib.sha256()
    for one in hashes:
        digest.update(one.encode() + b"\n")
    return digest.hexdigest()


def encode_segment(items: Sequence[Item], chunks: Sequence[Chunk]) -> bytes:
    """The segment's object. ``chunks`` cover ``items`` without a gap, all of one task.

    Raises ``InputError`` for values that JSON cannot hold, ``LedgerCorrupt`` if the chunks are not those of the items.
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
    ]
    return write_sealed(_KIND, meta, columns, _ROWS_PER_GROUP)


def decode_segment(data: bytes, where: str = "the manifest segment") -> Segment:
    """The inverse of ``encode_segment``. Raises ``LedgerCorrupt``, naming ``where``."""
    file = SealedFile(data, _KIND, where)
    items = tuple(_decode_item(file.meta["task"], row) for row in file.rows(0, file.row_count))
    return Segment(items, _chunks(file))


def decode_chunks(data: bytes, where: str = "the manifest segment") -> tuple[Chunk, ...]:
    """The chunk table of a segment, without its items. Raises ``LedgerCorrupt``."""
    return _chunks(SealedFile(data, _KIND, where))


def decode_rows(data: bytes, first_row: int, count: int, where: str = "the manifest segment") -> list[Item]:
    """Some rows of a segment, for a lease; the others are not decoded. Raises ``LedgerCorrupt``."""
    file = SealedFile(data, _KIND, where)
    if first_row < 0 or count < 0 or first_row + count > file.row_count:
        raise LedgerCorrupt(f"{where} has {file.row_count} rows; {count} were wanted from row {first_row} on")
    return [_decode_item(file.meta["task"], row) for row in file.rows(first_row, count)]


def decode_chunk(data: bytes, chunk: Chunk, where: str = "the manifest segment") -> list[Item]:
    """The items of a chunk, checked against its digest. Raises ``LedgerCorrupt``."""
    items = decode_rows(data, chunk.first_row, chunk.items, where)
    if chunk_digest(item.hash for item in items) != chunk.digest:
        raise LedgerCorrupt(
            f"{where} holds other items than those planned for chunk {chunk.number}: it is another plan's"
        )
    return items


def encode_index(index: TaskIndex) -> bytes:
    """The index as JSON with a checksum of its own."""
    fields = asdict(index)
    return (json.dumps({**fields, "sha256": _checksum(fields)}, indent=1) + "\n").encode()


def decode_index(data: bytes, where: str = "the task's index") -> TaskIndex:
    """The inverse of ``encode_index``. Raises ``LedgerCorrupt``, naming ``where``."""
    try:
        fields = json.loads(data)
        written = fields.pop("sha256")
        index = TaskIndex(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerCorrupt(f"{where} is damaged: it is no index of a task ({error})") from error
    if written != _checksum(fields):
        raise LedgerCorrupt(f"{where} is damaged: its fields do not have the sha256 that was written, {written}")
    return index


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _pack_arguments(request: Request, where: str, texts: Texts | None = None) -> list[Any]:
    """A request's arguments as a JSON list; see ``pack``."""
    field = f"{where}requests[{request.index}].arguments"
    return [pack(one, f"{field}[{n}]", texts) for n, one in enumerate(request.arguments)]


def _encode_item(item: Item) -> tuple[str, str, str]:
    """(doc, requests, texts) as JSON texts."""
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
    return Item(task=task, doc_id=row["doc_id"], doc=doc, requests=requests, hash=row["hash"], cost=row["cost"])


def _chunks(file: SealedFile) -> tuple[Chunk, ...]:
    task, segment = file.meta["task"], file.meta["segment"]
    return tuple(
        Chunk(task=task, number=number, segment=segment, first_row=first, items=items, cost=cost, digest=digest)
        for number, first, items, cost, digest in file.meta["chunks"]
    )


def _check_chunks(items: Sequence[Item], chunks: Sequence[Chunk]) -> None:
    """Refuse to write what no reader could trust."""
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
