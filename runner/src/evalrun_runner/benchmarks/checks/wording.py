"""Words for the messages of checks."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NAMES = 5
"""Names that a message lists."""


def listed(names: Iterable[str]) -> str:
    """Return names for a message: the first few, each cut, and how many more there are."""
    every = list(names)
    first = ", ".join(name if len(name) <= 60 else f"{name[:59]}…" for name in every[:MOST_NAMES])
    return first + (f" and {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else "")
