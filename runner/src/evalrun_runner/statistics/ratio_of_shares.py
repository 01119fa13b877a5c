"""Compute the score test of the ratio of two paired shares, for losses that are stated relative to the baseline.

The hypothesis is candidate = φ · baseline, φ = 1 - r for a loss of r:

    z(φ) = (right in candidate - φ · right in baseline) / √(φ (q₁₀ + q₀₁))

where q₁₀ and q₀₁ are the most likely numbers of lost and gained items under the hypothesis. As in Tango's test of the
difference, the standard error is not 0 where nothing changed.

Source: Nam and Blackwelder, Statistics in Medicine 21 (2002) 689.
"""

from __future__ import annotations

import math

from scipy.special import stdtr

from evalrun_runner.statistics.paired import MarginTest, PairedCounts, chance_of_fewer, chance_of_more

HALVINGS = 100
LARGEST_RATIO = 1e6


def ratio_z(counts: PairedCounts, ratio: float) -> float:
    """Return the score statistic at a ratio candidate/baseline; positive: the observed ratio is greater.

    Args:
        counts: the common items; may be effective numbers.
        ratio: ratio under the hypothesis, above 0.
    """
    both, lost, gained = counts.both, counts.lost, counts.gained
    total = both + lost + gained
    if total <= 0:
        return 0.0
    top = both + gained - ratio * (both + lost)
    # The likelihood of the lost number u is greatest at the larger root of a·u² + b·u + c.
    a = -(1 + ratio) * total
    b = lost * total * (1 + (1 + ratio) * (1 - ratio)) + gained * total + both * (1 + ratio) * (1 - ratio) * total
    c = -lost * (1 - ratio) * total * total
    root = (b + math.sqrt(max(b * b - 4 * a * c, 0.0))) / (-2 * a)
    likely_lost = min(max(root, (1 - ratio) * total, 0.0), total / (1 + ratio))
    likely_gained = max((ratio * total - total + likely_lost) / ratio, 0.0)
    variance = ratio * (likely_lost + likely_gained)
    if top == 0:
        return 0.0
    return top / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, top)


def ratio_limits(counts: PairedCounts, critical: float) -> tuple[float, float]:
    """Return the ratios that the score test does not reject; from 0 to infinite where the data say nothing."""
    if counts.both + counts.lost + counts.gained <= 0:
        return 0.0, math.inf
    return _crossing(counts, critical, below=True), _crossing(counts, -critical, below=False)


def compare_with_ratio(counts: PairedCounts, ratio: float, df: float = math.inf) -> MarginTest:
    """Test whether candidate/baseline is below a ratio of at most 1, or above a ratio of more than 1.

    As in the test of a margin, each side has an exact guard, of the lost (or gained) items among those that the
    baseline has right, and the side that finds a loss has a continuity correction.

    Args:
        counts: the common items; effective numbers if they come in clusters.
        ratio: 1 - r for a loss of at most r; 1 + r for a rise of at most r, of a score of which less is better.
        df: degrees of freedom of the statistic; infinite for items that are independent.
    """
    right = counts.both + counts.lost
    if right + counts.gained <= 0 or ratio <= 0:
        return MarginTest(1.0, 1.0)
    loses = ratio <= 1
    sign = 1.0 if loses else -1.0
    within = float(stdtr(df, -sign * ratio_z(counts, ratio)))
    lost, gained = (counts.lost, counts.gained) if loses else (counts.gained, counts.lost)
    less, more = max(lost - 0.5, 0.0), gained + 0.5
    kept = PairedCounts(counts.both, *((less, more) if loses else (more, less)), counts.neither)
    beyond = float(stdtr(df, sign * ratio_z(kept, ratio)))
    # A rise counts among all items: items that the baseline has wrong are what it comes from.
    among = right if loses else counts.n
    share = (abs(1 - ratio) * right + gained) / among if among else 1.0
    return MarginTest(max(within, chance_of_fewer(lost, among, share)), max(beyond, chance_of_more(lost, among, share)))


def _crossing(counts: PairedCounts, critical: float, *, below: bool) -> float:
    """Bisect the logarithm of the ratio; the statistic falls with it."""
    low, high = math.log(1 / LARGEST_RATIO), math.log(LARGEST_RATIO)
    if ratio_z(counts, math.exp(low)) <= critical:
        return 0.0
    if ratio_z(counts, math.exp(high)) >= critical:
        return math.inf
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if ratio_z(counts, math.exp(middle)) > critical:
            low = middle
        else:
            high = middle
    return math.exp(low if below else high)
