"""Adjust p-values for how many there are. A p-value of nan is no test: it stays nan and is not counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evalrun_runner.statistics.arrays import FloatArray


def holm(p: ArrayLike) -> FloatArray:
    """Return Holm's adjusted p-values: rejecting those up to a level keeps any wrong rejection at that level.

    Args:
        p: p-values, shape (m,); nan: there is no test.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    places = np.flatnonzero(~np.isnan(values))
    order = places[np.argsort(values[places], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> FloatArray:
    """Return Benjamini and Hochberg's q-values: of those up to a level, at most that share is wrong on average.

    Args:
        p: p-values, shape (m,); nan: there is no test.

    Source: Benjamini and Hochberg, JRSS B 57 (1995) 289.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    places = np.flatnonzero(~np.isnan(values))
    order = places[np.argsort(values[places], kind="stable")]
    scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
