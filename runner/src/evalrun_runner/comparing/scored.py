"""Runs of item scores: what a comparison needs of a run, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from evalrun_runner.comparing.facts import RunFacts

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
KeyArray = NDArray[np.uint64]


class MetricName(NamedTuple):
    """A metric of a task after one of its filters."""

    metric: str
    filter: str = "none"

    def __str__(self) -> str:
        return self.metric if self.filter == "none" else f"{self.metric},{self.filter}"


class KeyKind(IntEnum):
    """What makes two items the same one, from the finest to the coarsest."""

    ITEM = 0
    """Document, requests and their generation arguments: the ledger's hash of an item."""
    PROMPT = 1
    """Document and first prompt, by lm-eval's hashes."""
    DOCUMENT = 2
    """Document, by lm-eval's hash."""
    NAME = 3
    """Name of the item in a table."""


@dataclass(frozen=True, slots=True)
class ClassLabels:
    """Right and predicted class of each item, as places in ``names``; -1 where the item has none."""

    names: tuple[str, ...]
    """Texts of the classes."""
    gold: IntArray
    """Right class, shape (items,)."""
    predicted: IntArray
    """Predicted class, shape (items,)."""


@dataclass(frozen=True, slots=True)
class ItemScores:
    """Scores of the items of one leaf task, in the order of the run."""

    values: Mapping[MetricName, FloatArray]
    """Score of each item, shape (items,); nan where an item has none: it failed, or its value is no finite number."""
    labels: Mapping[MetricName, ClassLabels]
    """Classes of the items, of metrics that are computed of classes; ``values`` has 1 for a right class."""
    unusable: Mapping[MetricName, str]
    """Metrics that have no number for an item, with the reason."""
    order: str | None = None
    """Digest of the items in their order; two tasks with the same one hold the same items. None if not known."""
    size: int = 0
    """Number of items."""


@dataclass(frozen=True, slots=True)
class ItemText:
    """An item for people."""

    name: str
    """Document's number or name."""
    prompt: str
    """First prompt; empty if it is not known."""
    target: str
    """Right answer; empty if it is not known."""
    answer: str
    """First answer of the model; empty if it is not known."""


class ScoredRun(Protocol):
    """Run of item scores. All methods may raise ``InputError``, ``LedgerCorrupt`` and the errors of the store."""

    @property
    def label(self) -> str:
        """Name for people, unique among the runs compared."""

    @property
    def place(self) -> str:
        """Where it was read from, for messages."""

    @property
    def facts(self) -> RunFacts:
        """What decides whether it may be compared."""

    @property
    def tasks(self) -> Sequence[str]:
        """Leaf tasks with item scores."""

    @property
    def key_kinds(self) -> Sequence[KeyKind]:
        """Kinds of keys that its items have, finest first."""

    def scores(self, task: str) -> ItemScores:
        """Read the scores of a task."""

    def keys(self, task: str, kind: KeyKind) -> KeyArray:
        """Return the key of each item, shape (items,), in the order of ``scores``."""

    def clusters(self, task: str) -> IntArray | None:
        """Return the number of each item's declared cluster, shape (items,); None where none are declared."""

    def names(self, task: str, rows: Sequence[int]) -> list[str]:
        """Return the names of a few items by their places in ``scores``."""

    def texts(self, task: str, rows: Sequence[int]) -> list[ItemText]:
        """Return a few items for people by their places in ``scores``."""
