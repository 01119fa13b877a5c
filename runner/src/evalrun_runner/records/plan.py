"""Planned work: items with their requests, and chunks of items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class RequestType(StrEnum):
    """lm-eval's request types, as its instances carry them."""

    GENERATE_UNTIL = "generate_until"
    LOGLIKELIHOOD = "loglikelihood"
    LOGLIKELIHOOD_ROLLING = "loglikelihood_rolling"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an item: lm-eval's Instance without the document."""

    type: RequestType
    index: int
    """Position within the item."""
    arguments: tuple[Any, ...]
    """``(context, continuation)``, ``(text,)`` or ``(context, generation kwargs)``."""
    repeats: int = 1
    """Number of responses."""


def hash_text(text: str) -> str:
    """Hash a text like lm-eval's ``hash_string``, which raises for half of a surrogate pair."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Item:
    """Document of one leaf task, with all its requests."""

    task: str
    doc_id: int
    doc: Mapping[str, Any]
    requests: tuple[Request, ...]
    hash: str
    """sha256 over task, document and requests."""
    cost: float
    """Estimated work in prompt tokens: tokens to read plus weighted tokens to generate."""
    fault: str | None = None
    """What is wrong with the document, so that it has no requests and fails; None for a document that is right."""

    @property
    def prompt_hash(self) -> str | None:
        """sha256 of the first request's prompt, as lm-eval's samples have it; None without requests."""
        return hash_text(str(self.requests[0].arguments[0])) if self.requests else None


@dataclass(frozen=True, slots=True)
class PlanNote:
    """Something about a leaf task's documents that the reader of its scores should know."""

    message: str
    count: int
    """Number of documents that it is about."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Deterministic sequence of whole items of one leaf task: the unit of lease, commit and object."""

    task: str
    number: int
    segment: int
    """Number of the manifest segment that contains all its rows."""
    first_row: int
    """First row within the segment."""
    items: int
    cost: float
    digest: str
    """sha256 over its items' hashes, which a part of this chunk must match."""

    @property
    def id(self) -> tuple[str, int]:
        """Id (task, number), unique in a run."""
        return (self.task, self.number)
