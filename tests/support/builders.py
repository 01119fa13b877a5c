"""Items, chunks, leases, commits and rows by hand: a test states what it is about, the rest has usual values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.manifest import chunk_digest, decode_chunk, hash_item
from evalrun_runner.records.messages import Committed, Lease
from evalrun_runner.records.plan import Chunk, Item, Request, RequestType
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus, Outcome, Response, Tallies

OK = Outcome(ItemStatus.OK, ((Response("x", "stop", 1, 1),),))
FAILED = Outcome(ItemStatus.FAILED, error="too long")
QUARANTINED = Outcome(ItemStatus.QUARANTINED, error="it killed two engines")


def generate(context: str, *, repeats: int = 1, **arguments: Any) -> Request:
    """Make the request of a generation."""
    return Request(RequestType.GENERATE_UNTIL, 0, (context, arguments), repeats)


def likelihood(context: str, continuation: str, *, index: int = 0, repeats: int = 1) -> Request:
    """Make the request of one choice of a multiple-choice item."""
    return Request(RequestType.LOGLIKELIHOOD, index, (context, continuation), repeats)


def rolling(text: str, *, repeats: int = 1) -> Request:
    """Make the request of a whole text's likelihood."""
    return Request(RequestType.LOGLIKELIHOOD_ROLLING, 0, (text,), repeats)


def make_item(
    *requests: Request, doc_id: int = 0, task: str = "t", doc: Mapping[str, Any] | None = None, cost: float = 1.0
) -> Item:
    """Make an item of these requests, with the hash that the ledger expects."""
    held = {"n": doc_id} if doc is None else dict(doc)
    return Item(task, doc_id, held, requests, hash_item(task, doc_id, held, requests), cost)


def make_chunk(
    number: int = 0,
    *,
    task: str = "t",
    segment: int = 0,
    first_row: int = 0,
    items: int = 2,
    cost: float = 1.0,
    digest: str = "d",
) -> Chunk:
    """Make a chunk without its items: its digest fits none."""
    return Chunk(task, number, segment, first_row, items, cost, digest)


def cut(items: Sequence[Item], size: int | None = None, *, number: int = 0, segment: int = 0) -> list[Chunk]:
    """Cut items into chunks of ``size`` (None: one chunk), numbered from ``number``; costs and digests fit them."""
    size = size or len(items)
    chunks = []
    for place, first in enumerate(range(0, len(items), size)):
        mine = items[first : first + size]
        chunks.append(
            make_chunk(
                number + place,
                task=mine[0].task,
                segment=segment,
                first_row=first,
                items=len(mine),
                cost=sum(item.cost for item in mine),
                digest=chunk_digest(item.hash for item in mine),
            )
        )
    return chunks


def make_rows(items: Iterable[Item], outcomes: Iterable[Outcome]) -> list[ItemResult]:
    """Make the row of each item, without scores."""
    return [ItemResult(item.doc_id, item.hash, outcome) for item, outcome in zip(items, outcomes, strict=True)]


def make_committed(
    lease: Lease,
    counts: ItemCounts | None = None,
    *,
    won: bool = True,
    tokens: tuple[int, int] = (1, 1),
    seconds: float = 0.1,
    scores: Tallies | None = None,
) -> Committed:
    """Make a replica's word that a lease is committed; without ``counts`` every item is ok.

    Args:
        lease: The lease.
        counts: What became of its items.
        won: Whether the part in the store is this replica's.
        tokens: Prompt tokens and output tokens.
        seconds: From the end of the chunk's last item to its part in the store.
        scores: Tallies of the part.
    """
    found = ItemCounts(ok=lease.chunk.items) if counts is None else counts
    return Committed(lease.id, lease.chunk.id, found, won, *tokens, seconds, scores or {})


def read_items(ledger: Ledger, chunk: Chunk) -> list[Item]:
    """Read the items of a chunk from its segment."""
    data = ledger.segment_bytes(chunk.task, chunk.segment)
    return decode_chunk(data, chunk, layout.segment(chunk.task, chunk.segment))
