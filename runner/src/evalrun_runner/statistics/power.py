"""Compute the chances of a gate's verdict before the run, and the items and repeats that it needs.

Paired 0/1 scores: what matters is the share of items that change sides (discordance), not the score. Two models of one
family change 5 to 15% of items.

The chances are exact: every outcome within 7.5 standard deviations is decided by the gate's own rule. Without a single
changed item a gate passes from max(z^2 (1 - margin)/margin, log(alpha)/log(1 - margin)) items on: the first number is
Tango's test, the second its exact guard.

Example: no true difference, 10% of 1,000 items change, margin 0.02: the gate passes with a chance of 63%.

Source: Miller, arXiv 2411.00640 (2024), for repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, gammaln, ndtr, ndtri, xlogy

from evalrun_api.detectable import least_items_to_pass
from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.interval import CONFIDENCE
from evalrun_runner.statistics.tango import tango_z

POWER = 0.8
"""Chance of finding a difference that is there, unless another one is asked for."""
SPREAD = 7.5
"""Standard deviations on either side of the expected count within which outcomes are enumerated."""


@dataclass(frozen=True, slots=True)
class VerdictChances:
    """Chances of a gate's verdicts; they add up to 1.

    Attributes:
        passed: chance of Passed.
        failed: chance of Failed.
        inconclusive: chance of Inconclusive.
    """

    passed: float
    failed: float
    inconclusive: float


def regression_chances(
    n: int, margin: float, discordance: float, difference: float = 0.0, confidence: float = CONFIDENCE
) -> VerdictChances:
    """Return the exact chances of the verdicts of a `maxRegression` on paired 0/1 scores.

    Args:
        n: number of common items, at least 1.
        margin: the loss allowed, as a difference of scores.
        discordance: share of items that change sides, at least the size of the difference.
        difference: true difference, candidate minus baseline.
        confidence: one-sided.

    Raises:
        ValueError: the difference is greater than the discordance.
    """
    if abs(difference) > discordance + 1e-12:
        raise ValueError(f"a difference of {difference} needs at least that share of changed items, not {discordance}")
    alpha, loss, gain = 1 - confidence, (discordance - difference) / 2, (discordance + difference) / 2
    lost = _likely(n, loss)
    gained = _likely(n, gain)
    c, b = lost[:, None], gained[None, :]
    possible = c + b <= n
    rest = np.where(possible, n - c - b, 0.0)
    log_chance = gammaln(n + 1) - gammaln(c + 1) - gammaln(b + 1) - gammaln(rest + 1)
    log_chance = log_chance + xlogy(c, loss) + xlogy(b, gain) + xlogy(rest, max(1 - discordance, 0.0))
    chance = np.where(possible, np.exp(log_chance), 0.0)
    share = np.clip(margin + b / n, 0.0, 1.0)
    fewer = np.where(
        (c < n) & (share < 1), betainc(np.maximum(n - c, 0.5), c + 1, 1 - share), np.where(c < n, 0.0, 1.0)
    )
    more = np.where((c > 0) & (share < 1), betainc(np.maximum(c, 0.5), n - c + 1, share), 1.0)
    passes = (ndtr(-tango_z(c, b, n, -margin)) <= alpha) & (fewer <= alpha)
    corrected = tango_z(np.maximum(c - 0.5, 0.0), b + 0.5, n, -margin)
    fails = (ndtr(corrected) <= alpha) & (more <= alpha)
    return _chances(float(chance[passes].sum()), float(chance[fails].sum()))


def items_to_pass(
    margin: float, discordance: float, difference: float = 0.0, confidence: float = CONFIDENCE, power: float = POWER
) -> int | None:
    """Return about how many items let a `maxRegression` pass with a chance of `power`; None: no number does.

    Arguments as for `regression_chances`. The number is checked with the exact chances up to 20,000 items; they jump a
    little with n, so a few more or fewer items may do as well.
    """
    room = margin + difference
    least = least_items_to_pass(margin, confidence) or 1
    if room <= 0:
        return None
    root = float(ndtri(confidence)) + float(ndtri(power))
    n = max(least, math.ceil(root * root * max(discordance - difference**2, 0.0) / room**2))
    while n < 20_000 and regression_chances(n, margin, discordance, difference, confidence).passed < power:
        n = math.ceil(n * 1.02) + 1
    return n


def _likely(n: int, share: float) -> FloatArray:
    middle, spread = n * share, SPREAD * math.sqrt(n * share * (1 - share)) + SPREAD
    return np.arange(max(0, math.floor(middle - spread)), min(n, math.ceil(middle + spread)) + 1, dtype=np.float64)


def _chances(passed: float, failed: float) -> VerdictChances:
    return VerdictChances(passed, failed, max(0.0, 1 - passed - failed))
