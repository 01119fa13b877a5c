"""Show that two runs are alike, or that one is not worse, within a margin. Not to be found different is neither.

Equivalence within a margin: the candidate is shown not to be worse by the margin and not to be better by it (two
one-sided tests). Each side is tested as a gate tests a regression: Tango with exact guard for 0/1 scores, t with
pseudo-items for others. Identical answers on a few items therefore prove nothing.

Example: 10 items with the same answers are not equivalent within 0.05; 150 are within 0.02.

Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987) 657.
"""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_runner.statistics.interval import CONFIDENCE
from evalrun_runner.statistics.paired_data import PairedData, compare


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Result of a test within a margin.

    Attributes:
        shown: whether it is shown with the confidence.
        p: p-value of "not within the margin".
        low: bound that the difference exceeds with the confidence (one-sided).
        high: bound that the difference stays below with the confidence (one-sided).
        margin: difference allowed, in the unit of the score.
        confidence: one-sided.
    """

    shown: bool
    p: float
    low: float
    high: float
    margin: float
    confidence: float


def equivalent(data: PairedData, margin: float, confidence: float = CONFIDENCE) -> Equivalence:
    """Test whether candidate and baseline differ by less than a margin, either way.

    Args:
        data: scores of both on their common items.
        margin: the difference allowed, above 0, in the unit of the score.
        confidence: one-sided, of each of the two tests; the pair of them needs no correction.

    Raises:
        ValueError: the margin is not above 0.
    """
    worse = noninferior(data, margin, confidence)
    better = noninferior(data.swapped, margin, confidence)
    p = max(worse.p, better.p)
    return Equivalence(p <= 1 - confidence, p, worse.low, worse.high, margin, confidence)


def noninferior(data: PairedData, margin: float, confidence: float = CONFIDENCE) -> Equivalence:
    """Test whether a candidate is worse than its baseline by less than a margin; arguments as for `equivalent`."""
    if margin <= 0:
        raise ValueError(f"margin {margin}: expected a difference above 0")
    chosen = compare(data)
    p = chosen.compare_with_margin(margin).p_within
    low, high = chosen.limits(confidence)
    return Equivalence(p <= 1 - confidence, p, low, high, margin, confidence)
