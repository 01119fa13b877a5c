"""Words for the messages of checks."""

from __future__ import annotations

from collections.abc import Iterable

from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.errors import listed

MOST_NAMES = 5
"""Names that a message lists."""


def leaf_names(leaves: Iterable[LeafTask]) -> str:
    """Return the names of leaf tasks for a message: the first few, each cut, and how many more there are."""
    names = [leaf.name for leaf in leaves]
    return listed([name if len(name) <= 60 else f"{name[:59]}…" for name in names], MOST_NAMES)
