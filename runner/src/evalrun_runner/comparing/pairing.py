"""Pairing of the items of two runs by their keys, and of many runs on all their items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalrun_runner.comparing.scored import FloatArray, IntArray, KeyArray


@dataclass(frozen=True, slots=True)
class ItemPairing:
    """Items of two runs that are the same, by their places in each."""

    first: IntArray
    """Places in the first run, ascending, shape (pairs,)."""
    second: IntArray
    """Places in the second run of the same items, shape (pairs,)."""
    only_first: IntArray
    """Places of items that only the first run has."""
    only_second: IntArray
    """Places of items that only the second run has."""


def pair(first: KeyArray, second: KeyArray) -> ItemPairing:
    """Pair items of equal keys; of several with one key, the first with the first, the second with the second."""
    if np.array_equal(first, second):
        return same_items(len(first))
    (sorted_first, order_first), (sorted_second, order_second) = _numbered(first), _numbered(second)
    _, ours, theirs = np.intersect1d(sorted_first, sorted_second, assume_unique=True, return_indices=True)
    places = np.stack([order_first[ours], order_second[theirs]])
    places = places[:, np.argsort(places[0], kind="stable")]
    return ItemPairing(
        places[0],
        places[1],
        np.setdiff1d(np.arange(len(first)), places[0], assume_unique=True),
        np.setdiff1d(np.arange(len(second)), places[1], assume_unique=True),
    )


def same_items(size: int) -> ItemPairing:
    """Pair the items of two runs that have the same ones in the same order."""
    places, none = np.arange(size), np.empty(0, dtype=np.int64)
    return ItemPairing(places, places, none, none)


def union(keys: Sequence[KeyArray], values: Sequence[FloatArray]) -> FloatArray:
    """Put the scores of many runs on all their items.

    Args:
        keys: Keys of each run's items.
        values: Scores of each run's items.

    Returns:
        Shape (runs, items of any run); nan where a run lacks an item or its score.
    """
    if all(np.array_equal(keys[0], one) for one in keys[1:]):
        return np.vstack(values)
    numbered = [_numbered(one) for one in keys]
    every = np.unique(np.concatenate([one for one, _ in numbered]))
    matrix = np.full((len(keys), len(every)), np.nan)
    for row, (one, order), of_run in zip(matrix, numbered, values, strict=True):
        row[np.searchsorted(every, one)] = of_run[order]
    return matrix


def _numbered(keys: KeyArray) -> tuple[KeyArray, IntArray]:
    """Return unique keys, sorted, and the places they stand for: the n-th of equal keys has n added."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    if len(ordered) and bool(np.any(ordered[1:] == ordered[:-1])):
        begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        nth = np.arange(len(ordered)) - np.repeat(begins, np.diff(np.r_[begins, len(ordered)]))
        ordered = ordered + nth.astype(np.uint64)
        again = np.argsort(ordered, kind="stable")
        ordered, order = ordered[again], order[again]
    return ordered, order
