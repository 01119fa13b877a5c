"""Coverage of intervals and bounds of a share, by summing over every outcome: no simulation."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from bench.statistics.page import Claim, CoverageTable
from evalrun_runner.statistics.arrays import FloatArray
from evalrun_runner.statistics.proportions import lower_bound, wilson

SIZES = (20, 50, 100, 300, 1000, 10_000)
HUNDREDTHS = np.linspace(0.02, 0.98, 97)
FINE = np.linspace(0.02, 0.98, 4801)
WILSON_GOALS = {50: 92.0, 100: 93.3, 300: 94.1}


def wilson_coverage(n: int, shares: FloatArray) -> FloatArray:
    """Return the coverage of Wilson's 95% interval in percent at true shares."""
    found = [wilson(right, n) for right in range(n + 1)]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    # Both bounds grow with the right items, so that the outcomes that hold a share are a range.
    first = np.searchsorted(high, shares - 1e-15)
    last = np.searchsorted(low, shares + 1e-15) - 1
    return np.asarray(100 * (binom.cdf(last, n, shares) - binom.cdf(first - 1, n, shares)), dtype=np.float64)


def gate_error(n: int, shares: FloatArray) -> FloatArray:
    """Return how often, in percent, the one-sided 95% bound of a gate is above a true share."""
    bounds = np.array([lower_bound(right, n, 0.95) for right in range(n + 1)])
    first = np.searchsorted(bounds, shares, side="right")
    return np.asarray(100 * binom.sf(first - 1, n, shares), dtype=np.float64)


def shares(_: int) -> CoverageTable:
    """Return the exact table of a share: Wilson's coverage, and the error of a gate's bound."""
    rows, claims = [], []
    for n in SIZES:
        hundredths, fine, error = wilson_coverage(n, HUNDREDTHS), wilson_coverage(n, FINE), gate_error(n, FINE)
        rows.append(
            [f"{n:,}", *(f"{number:.2f}" for number in (hundredths.min(), fine.min(), fine.mean(), error.max()))]
        )
        if n in WILSON_GOALS:
            text = f"Wilson, n = {n}, true score in steps of 0.01: at least {WILSON_GOALS[n]}%"
            claims.append(Claim(text, float(hundredths.min()), at_least=WILSON_GOALS[n]))
        claims.append(Claim(f"bound of a gate, n = {n:,}: wrong in at most 5.0%", float(error.max()), at_most=5.0))
    return CoverageTable(
        "One score, right or wrong items: exact",
        "For true scores from 0.02 to 0.98 every outcome was counted with its binomial chance. Coverage oscillates "
        "with the true score: no interval of a share keeps it within a point of 95% at small n. The least coverage "
        "depends on the steps: in steps of 0.01 as in the claims, and in 4,801 steps. The last column is the greatest "
        "chance that the one-sided 95% bound of a gate passes a model whose true score is just below the gate.",
        ["items", "least coverage, steps of 0.01", "least, 4,801 steps", "mean", "greatest error of a gate"],
        rows,
        claims,
    )
