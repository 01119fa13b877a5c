"""Exponential back-off: the one formula by which operator and runner wait between tries."""

from __future__ import annotations


def backoff(failures: int, first: float, longest: float, chance: float = 1.0) -> float:
    """Return how long to wait after so many failures in a row, before the next try.

    The wait doubles with each failure: ``min(longest, first * 2^(failures - 1))``. Without a failure it is zero.

    Args:
        failures: Failures in a row; the next success starts the count anew.
        first: Seconds after the first failure.
        longest: Seconds at most.
        chance: Jitter, uniform in [0, 1): spreads the wait over its upper half, so that a thousand who failed
            together do not come back together. 1, the default, is the whole wait.
    """
    if failures < 1:
        return 0.0
    # Enough doublings for any limit, and few enough for a float.
    whole = min(longest, first * 2.0 ** min(failures - 1, 64))
    return whole * (0.5 + chance / 2)
