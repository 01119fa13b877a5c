"""Compute intervals for runs that are looked at before their end: after a stop, and at any time.

A run that stops at a look stops because its score was high or low there, so that its plain interval is wrong. The
interval after a stop orders outcomes by the look at which the run stopped, then by the statistic (stage-wise ordering),
and inverts the chance of a higher outcome.

Sources: Tsiatis, Rosner and Mehta, Biometrics 40 (1984) 797, for the interval after a stop; Armitage, McPherson and
Rowe, JRSS A 132 (1969) 235, for the recursion; Waudby-Smith et al., Annals of Statistics 52 (2024) 2613, for the
interval at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.interval import CONFIDENCE

GRID = 161
"""Points of the numerical integration."""
WIDEST = 8.5
"""Standard deviations beyond which nothing is integrated."""
HALVINGS = 40
REACH = 20.0
"""Standard errors around the estimate within which bounds are searched."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What was found where a run stopped.

    Attributes:
        estimate: score or difference.
        error: its standard error, above 0.
        reference: what the looks compared with: the minimum, or minus the margin.
    """

    estimate: float
    error: float
    reference: float


@dataclass(frozen=True, slots=True)
class AdjustedInterval:
    """Interval after a stop, which takes the looks into account.

    Attributes:
        low: lower bound.
        high: upper bound.
        median: estimate that is too high as often as too low; the plain score of a stopped run is biased.
        confidence: two-sided.
    """

    low: float
    high: float
    median: float
    confidence: float


def adjusted_interval(
    shares: Sequence[float], boundaries: Sequence[float], stop: Stop, confidence: float = CONFIDENCE
) -> AdjustedInterval:
    """Return the interval of a score or a difference after a run stopped at the last of the looks that it took.

    Args:
        shares: share of the planned items at each look taken, rising; the last is that of the stop.
        boundaries: statistic that decided at each of these looks, on either side.
        stop: what was found at the stop.
        confidence: two-sided.
    """
    information = [share / shares[-1] / stop.error**2 for share in shares]
    z = (stop.estimate - stop.reference) / stop.error

    def at(level: float) -> float:
        low, high = stop.estimate - REACH * stop.error, stop.estimate + REACH * stop.error
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if _chance_of_more(boundaries, information, middle - stop.reference, z) < level:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    side = (1 - confidence) / 2
    return AdjustedInterval(at(side), at(1 - side), at(0.5), confidence)


def anytime_half_width(variance: float, n: int, planned: int, confidence: float = CONFIDENCE) -> float:
    """Return the half width of an interval that holds at all times at once, for display while a run is under way.

    It is 30 to 60% wider than the interval at the end; infinite below two items.

    Args:
        variance: variance of the items' scores so far.
        n: number of items so far, a complete prefix of a random order.
        planned: number of all items; the interval is narrowest there.
        confidence: two-sided.
    """
    if n < 2:
        return math.inf
    alpha = 1 - confidence
    rho = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / max(planned, 2))
    scale = n * rho * rho + 1
    # A variance of 0 is taken as that of one odd item: no width is 0.
    spread = max(variance, (n - 1) / n**2)
    return math.sqrt(spread * 2 * scale / (n * n * rho * rho) * math.log(math.sqrt(scale) / alpha))


@dataclass(frozen=True, slots=True)
class _Walk:
    """Distribution of the score process S(t), whose variance is t, over the runs that have not stopped.

    Attributes:
        time: information so far.
        points: values of S, shape (m,).
        masses: probability at each point, shape (m,).
        drift: expected S for each unit of time.
    """

    time: float
    points: FloatArray
    masses: FloatArray
    drift: float

    @classmethod
    def begin(cls, drift: float = 0.0) -> _Walk:
        return cls(0.0, np.zeros(1), np.ones(1), drift)

    def above(self, z: float, time: float) -> float:
        """Return the chance of a statistic above z at a later time."""
        step = time - self.time
        gaps = z * math.sqrt(time) - self.points - self.drift * step
        return float((self.masses * ndtr(-gaps / math.sqrt(step))).sum())

    def going_on(self, lower: float, upper: float, time: float) -> _Walk:
        """Return the runs whose statistic at a later time is between two boundaries."""
        step = time - self.time
        reach = WIDEST * math.sqrt(step)
        left = max(lower * math.sqrt(time), float(self.points[0]) + self.drift * step - reach)
        right = min(upper * math.sqrt(time), float(self.points[-1]) + self.drift * step + reach)
        if right <= left:
            return _Walk(time, np.zeros(1), np.zeros(1), self.drift)
        points = np.linspace(left, right, GRID)
        gaps = points[:, None] - self.points[None, :] - self.drift * step
        density = np.exp(-gaps * gaps / (2 * step)) @ self.masses / math.sqrt(2 * math.pi * step)
        # Simpson's weights.
        weights = np.ones(GRID)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return _Walk(time, points, density * weights * (points[1] - points[0]) / 3, self.drift)


def _chance_of_more(boundaries: Sequence[float], information: Sequence[float], drift: float, z: float) -> float:
    """Return the chance of an outcome at least as high as a stop at the last look with the statistic z."""
    state, higher = _Walk.begin(drift), 0.0
    for boundary, time in zip(boundaries[:-1], information[:-1], strict=True):
        higher += state.above(boundary, time)
        state = state.going_on(-boundary, boundary, time)
    return higher + state.above(z, information[-1])
