"""Clusters that a task declares of its documents: items of one cluster are not independent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from evalrun_runner.benchmarks.declared import declared_fields, label_of
from evalrun_runner.comparing.scored import IntArray
from evalrun_runner.errors import InputError


def cluster_field(results: Mapping[str, object], task: str) -> str | None:
    """Return the field of the documents whose value items of one cluster share; None if the task declares none.

    Args:
        results: A results document in lm-eval's layout.
        task: A leaf task.
    """
    configs = results.get("configs")
    config = configs.get(task) if isinstance(configs, dict) else None
    try:
        return declared_fields(config.get("metadata") if isinstance(config, dict) else None).cluster
    except InputError:  # a later version may declare more
        return None


def cluster_numbers(values: Iterable[object]) -> IntArray:
    """Return the number of each item's cluster by the value of its document; one without a value is its own cluster."""
    numbers: dict[object, int] = {}
    keys = (place if (label := label_of(value)) is None else label for place, value in enumerate(values))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def join_clusters(parts: Sequence[tuple[int, IntArray | None]]) -> IntArray | None:
    """Join the clusters of several tasks.

    Args:
        parts: Number of items of each task, and the numbers of their clusters; None: each item is one of its own.

    Returns:
        Numbers for all items, shape (items,), with no cluster in two tasks; None where no task declares any.
    """
    if all(clusters is None for _, clusters in parts):
        return None
    numbered: list[IntArray] = []
    used = 0
    for items, declared in parts:
        clusters = np.arange(items) if declared is None else declared
        numbered.append(clusters + used)
        used += int(clusters.max(initial=-1)) + 1
    return np.concatenate(numbered)
