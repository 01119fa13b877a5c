"""Compute tests and intervals of paired 0/1 scores on arrays, a value for each pair of models.

In all of them `lost` counts the items that only the baseline has right, `gained` those that only the candidate has
right, and the difference is candidate minus baseline: (gained - lost)/n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

from evalrun_runner.statistics.arrays import FloatArray


def mcnemar_p(lost: ArrayLike, gained: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return McNemar's two-sided exact p-value and the mid-p-value.

    The exact test decides; mid-p is less conservative and may exceed its level slightly (measured: at most 5.2% at a
    nominal 5%). Without a changed item both are 1.

    Sources: McNemar, Psychometrika 12 (1947) 153; Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13
    (2013) 91.
    """
    c, b = np.broadcast_arrays(np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64))
    fewer, total = np.minimum(c, b), c + b
    tail = betainc(np.maximum(total - fewer, 0.5), fewer + 1, 0.5)
    less = np.where(fewer > 0, betainc(np.maximum(total - fewer + 1, 0.5), np.maximum(fewer, 0.5), 0.5), 0.0)
    some = total > 0
    exact = np.where(some, np.minimum(2 * tail, 1.0), 1.0)
    middle = np.where(some, np.minimum(tail + less, 1.0), 1.0)
    return exact, np.where(fewer == total - fewer, 1.0, middle)


def newcombe_bounds(
    both: ArrayLike, lost: ArrayLike, gained: ArrayLike, neither: ArrayLike, critical: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of Newcombe's method 10: Wilson's intervals of both shares, joined with their correlation φ.

    φ has the n/2 correction where it is positive. Without items the bounds are -1 and 1.

    Source: Newcombe, Statistics in Medicine 17 (1998) 2635, method 10.
    """
    a, c, b, d, z = (np.asarray(one, dtype=np.float64) for one in (both, lost, gained, neither, critical))
    size = a + b + c + d
    some = np.maximum(size, 1e-300)
    candidate, baseline = (a + b) / some, (a + c) / some
    low_1, high_1 = _wilson(candidate, some, z)
    low_0, high_0 = _wilson(baseline, some, z)
    covariance = a * d - b * c
    covariance = np.where(covariance > 0, np.maximum(covariance - size / 2, 0), covariance)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    phi = np.divide(covariance, np.sqrt(margins), out=np.zeros(margins.shape), where=margins > 0)
    difference = candidate - baseline
    below = _joined(candidate - low_1, high_0 - baseline, phi)
    above = _joined(high_1 - candidate, baseline - low_0, phi)
    low, high = np.maximum(difference - below, -1), np.minimum(difference + above, 1)
    return np.where(size > 0, low, -1.0), np.where(size > 0, high, 1.0)


def bonett_price_bounds(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, critical: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of Bonett and Price's adjusted Wald interval: one lost and one gained item are added.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 37 (2012) 479.
    """
    c, b, size, z = (np.asarray(one, dtype=np.float64) for one in (lost, gained, n, critical))
    gain, loss = (b + 1) / (size + 2), (c + 1) / (size + 2)
    half = z * np.sqrt((gain + loss - (gain - loss) ** 2) / (size + 2))
    low, high = np.maximum(gain - loss - half, -1), np.minimum(gain - loss + half, 1)
    return np.where(size > 0, low, -1.0), np.where(size > 0, high, 1.0)


def _wilson(share: FloatArray, n: FloatArray, critical: FloatArray) -> tuple[FloatArray, FloatArray]:
    squared = critical * critical
    middle = (share * n + squared / 2) / (n + squared)
    half = critical * np.sqrt(share * (1 - share) * n + squared / 4) / (n + squared)
    return np.where(share <= 0, 0.0, middle - half), np.where(share >= 1, 1.0, middle + half)


def _joined(one: FloatArray, other: FloatArray, phi: FloatArray) -> FloatArray:
    squared: FloatArray = np.maximum(one * one - 2 * phi * one * other + other * other, 0.0)
    root: FloatArray = np.sqrt(squared)
    return root
