"""Compute Tango's score test and interval for the difference of two paired shares, on arrays.

The statistic at a difference Δ compares the observed difference with its standard error *under Δ*:

    z(Δ) = (gained - lost - nΔ) / √(n (2q + Δ(1 - Δ)))

where q is the most likely share of lost items given that the difference is Δ. The standard error is not 0 because
nothing changed: with no changed item at all the lower bound is -z²/(n + z²). That is what the t test, the bootstrap and
the permutation test get wrong: they give [0, 0] then.

Example: 300 items, none changed, 95% one-sided: the lower bound is -0.0089.

Source: Tango, Statistics in Medicine 17 (1998) 891.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from evalrun_runner.statistics.arrays import FloatArray

HALVINGS = 60
"""Bisections of [-1, 1]: the bounds are then exact to the last digit of a double."""


def tango_z(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, difference: ArrayLike) -> FloatArray:
    """Return the score statistic at a difference; arguments broadcast.

    Args:
        lost: number of items that only the baseline has right; may be a fraction (an effective number).
        gained: number of items that only the candidate has right.
        n: number of common items.
        difference: candidate minus baseline under the hypothesis, -1 to 1.

    Returns:
        The statistic, approximately standard normal under the hypothesis; infinite where the hypothesis is impossible,
        0 where it is certain.
    """
    c, b, size, delta = (np.asarray(one, dtype=np.float64) for one in (lost, gained, n, difference))
    linear = (2 * size - b + c) * delta - b - c
    constant = -c * delta * (1 - delta)
    root = np.sqrt(np.maximum(linear * linear - 8 * size * constant, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # The second form has no cancellation where the first one has.
        share = np.where(linear <= 0, (root - linear) / (4 * size), -2 * constant / (linear + root))
        share = np.maximum(np.nan_to_num(share, nan=0.0), np.maximum(0.0, -delta))
        top = b - c - size * delta
        variance = size * np.maximum(2 * share + delta * (1 - delta), 0)
        statistic = np.where(variance > 0, top / np.sqrt(variance), np.sign(top) * np.inf)
    return np.where(top == 0, 0.0, statistic)


def tango_bounds(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, critical: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the differences that the score test does not reject; arguments broadcast.

    Args:
        lost: number of items that only the baseline has right; may be a fraction.
        gained: number of items that only the candidate has right.
        n: number of common items; where it is 0 the bounds are -1 and 1.
        critical: quantile that the statistic is compared with, positive: 1.96 for 95% on both sides.
    """
    c, b, size, limit = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (lost, gained, n, critical)))
    estimate = np.divide(b - c, size, out=np.zeros(size.shape), where=size > 0)
    low, below = np.full(size.shape, -1.0), estimate
    above, high = estimate, np.full(size.shape, 1.0)
    for _ in range(HALVINGS):
        middle = (low + below) / 2
        rejected = tango_z(c, b, size, middle) > limit
        low, below = np.where(rejected, middle, low), np.where(rejected, below, middle)
        middle = (above + high) / 2
        rejected = tango_z(c, b, size, middle) < -limit
        above, high = np.where(rejected, above, middle), np.where(rejected, middle, high)
    empty = size <= 0
    return np.where(empty, -1.0, low), np.where(empty, 1.0, high)
