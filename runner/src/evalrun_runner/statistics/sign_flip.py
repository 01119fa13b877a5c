"""Test whether paired differences are as often for one side as for the other, by flipping their signs.

Under the hypothesis every difference could as well have had the other sign. The p-value is the share of all 2^m choices
of signs whose sum is at least as far from 0 as the observed one; items without a difference do not matter.

    all differences of one size:   the binomial distribution, which is McNemar's exact test
    up to 30 changed items:        every choice of signs is counted, half by half
    more:                          saddlepoint approximation, without random numbers (error below 2% of the p-value)

Sources: Fisher, The Design of Experiments (1935); Robinson, JRSS B 44 (1982) 91, for the saddlepoint.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from evalrun_runner.statistics.arrays import FloatArray, Numbers, vector
from evalrun_runner.statistics.paired_arrays import mcnemar_p

COUNTED = 30
"""Greatest number of changed items whose signs are all tried."""
NEWTON_STEPS = 100
_ROUNDING = 1e-9


def sign_flip(differences: Numbers) -> float:
    """Return the two-sided p-value of the sign-flip test; 1 where no item changed.

    Args:
        differences: candidate minus baseline for each item, shape (n,). For items in clusters: their sum for each
            cluster, because the items of a cluster change sides together.

    Raises:
        ValueError: a difference is nan or infinite.
    """
    array = vector(differences, "differences")
    changed = array[array != 0]
    if changed.size == 0:
        return 1.0
    sizes = np.abs(changed)
    sizes = sizes / sizes.max()
    total = abs(float((np.sign(changed) * sizes).sum()))
    if sizes.min() > 1 - _ROUNDING:
        ups = int(np.count_nonzero(changed > 0))
        return float(mcnemar_p(changed.size - ups, ups)[0])
    tolerance = _ROUNDING * changed.size
    if total <= tolerance:
        return 1.0
    if changed.size <= COUNTED:
        return _counted(sizes, total - tolerance)
    return _saddlepoint(sizes, total)


def _counted(sizes: FloatArray, total: float) -> float:
    """Count the choices of signs whose sum reaches the total: sums of both halves, sorted against each other."""
    half = sizes.size // 2
    left, right = _sums(sizes[:half]), np.sort(_sums(sizes[half:]))
    reaching = right.size - np.searchsorted(right, total - left, side="left")
    return min(1.0, 2 * float(reaching.sum()) / (left.size * right.size))


def _sums(sizes: FloatArray) -> FloatArray:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums


def _saddlepoint(sizes: FloatArray, total: float) -> float:
    """Approximate the tail by Lugannani and Rice's formula, with the step of a lattice taken into account."""
    step = _lattice_step(sizes)
    aim = total - step
    if aim <= 0:
        return 1.0
    most = float(sizes.sum())
    if total >= most - _ROUNDING * most:
        return math.ldexp(2.0, -sizes.size)
    at = _saddle(sizes, aim)
    curvature = float((sizes**2 / np.cosh(np.minimum(sizes * at, 300)) ** 2).sum())
    log_mean = float((np.logaddexp(sizes * at, -sizes * at) - math.log(2)).sum())
    r = math.sqrt(max(2 * (at * aim - log_mean), 0.0))
    u = (math.sinh(at * step) / step if step else at) * math.sqrt(curvature)
    if r < 1e-4 or u <= 0:
        return min(1.0, 2 * float(ndtr(-aim / math.sqrt(float((sizes**2).sum())))))
    density = math.exp(-r * r / 2) / math.sqrt(2 * math.pi)
    return min(1.0, max(2 * (float(ndtr(-r)) + density * (1 / u - 1 / r)), math.ldexp(2.0, -sizes.size)))


def _saddle(sizes: FloatArray, aim: float) -> float:
    """Return where the slope of the cumulant function, the sum of d tanh(d t), is the aim."""
    low, high = 0.0, 1.0
    while float((sizes * np.tanh(sizes * high)).sum()) < aim and high < 1e12:
        high *= 2
    for _ in range(NEWTON_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if float((sizes * np.tanh(sizes * middle)).sum()) < aim else (low, middle)
    return (low + high) / 2


def _lattice_step(sizes: FloatArray) -> float:
    """Return the greatest size of which all differences are multiples, as judge's points are; 0 if there is none."""
    least = float(sizes.min())
    for parts in (1, 2, 3, 4):
        multiples = sizes * parts / least
        if float(np.abs(multiples - np.round(multiples)).max()) < 1e-6:
            return least / parts
    return 0.0
