"""Read the clusters, strata and tags of a leaf task's documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from evalrun_runner.benchmarks.declared import FEW_STRATA, MOST_STRATA, DeclaredFields, label_of, labels_of

Places = NDArray[np.int64]


@dataclass(frozen=True)
class ItemLabels:
    """How the documents of a leaf task belong together."""

    clusters: Places | None = None
    """Number of each document's cluster, shape (documents,); a document without a value is a cluster of its own. None:
    no cluster is declared."""
    strata: Mapping[str, Places] = field(default_factory=dict)
    """Documents of each stratum and tag, ascending, by ``<field>=<value>``."""
    remarks: tuple[str, ...] = ()
    """What people should know of the declaration."""


def item_labels(declared: DeclaredFields, documents: Any) -> ItemLabels:
    """Read the labels of all documents.

    Args:
        declared: The fields.
        documents: The documents by their number: a data set, or a sequence of mappings.
    """
    strata: dict[str, Places] = {}
    remarks: list[str] = []
    for name in declared.strata:
        strata |= _strata(name, ((label_of(value),) for value in _column(documents, name)), remarks)
    if declared.tags is not None:
        strata |= _strata(declared.tags, (labels_of(value) for value in _column(documents, declared.tags)), remarks)
    clusters = None if declared.cluster is None else _clusters(declared.cluster, documents, remarks)
    return ItemLabels(clusters, strata, tuple(remarks))


def _column(documents: Any, name: str) -> Iterator[object]:
    """Yield a field of each document; one that lacks it has None."""
    if isinstance(documents, datasets.Dataset):
        yield from documents[name] if name in documents.column_names else [None] * len(documents)
        return
    for document in documents:
        yield document.get(name)


def _clusters(name: str, documents: Any, remarks: list[str]) -> Places:
    labels = [label_of(value) for value in _column(documents, name)]
    if missing := labels.count(None):
        what = "document has" if missing == 1 else "documents have"
        remarks.append(
            f"metadata.evalrun.cluster: {missing:,} of {len(labels):,} {what} no value of {name!r}: each of them "
            "counts as a cluster of its own"
        )
    numbers: dict[object, int] = {}
    # The place of a document without a value is a key that no text is equal to.
    keys = (place if label is None else label for place, label in enumerate(labels))
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), dtype=np.int64)


def _strata(name: str, column: Iterable[Sequence[str | None]], remarks: list[str]) -> dict[str, Places]:
    places: dict[str, list[int]] = {}
    for place, labels in enumerate(column):
        for label in labels:
            if label is not None:
                places.setdefault(label, []).append(place)
    if len(places) > MOST_STRATA:
        remarks.append(
            f"metadata.evalrun: {name!r} has {len(places):,} values, more than the {MOST_STRATA} that can have a score "
            "of their own: it is no stratum"
        )
        return {}
    if len(places) > FEW_STRATA and sum(len(one) == 1 for one in places.values()) > len(places) / 2:
        remarks.append(
            f"metadata.evalrun: {name!r} has {len(places):,} values, most of them in one document alone: it names "
            "documents, and is no stratum"
        )
        return {}
    return {f"{name}={label}": np.array(places[label], dtype=np.int64) for label in sorted(places)}
