"""What is asked: items with their requests, and the chunks that they are cut into."""

from __future__ import annotations

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
    """One request of an item: lm-eval's Instance without the document.

    ``arguments`` is ``(context, continuation)``, ``(text,)`` or ``(context, generation kwargs)``; ``index`` its place
    within the item; ``repeats`` how many responses are wanted.
    """

    type: RequestType
    index: int
    arguments: tuple[Any, ...]
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One document of one leaf task, with all its requests. ``hash`` covers task, document and requests."""

    task: str
    doc_id: int
    doc: Mapping[str, Any]
    requests: tuple[Request, ...]
    hash: str
    cost: float
    """Estimated work, in tokens: prompt tokens weighted as prefill plus the tokens generated at most."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A deterministic run of whole items of one leaf task: the unit of lease, commit and object."""

    task: str
    number: int
    segment: int
    """The manifest segment that holds all its rows."""
    first_row: int
    """Its first row within the segment."""
    items: int
    cost: float
    digest: str
    """sha256 over its items' hashes; a part made for other items is no part of this chunk."""

    @property
    def id(self) -> tuple[str, int]:
        """(task, number): unique in a run."""
        return (self.task, self.number)
