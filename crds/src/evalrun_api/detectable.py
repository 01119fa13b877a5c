"""Compute how many items a gate needs before it can pass at all. Closed formulas, without a library.

A confidence bound that is exact never reaches its score: with few items even a perfect result proves too little.

    no changed item among n:    lower bound of the difference = -z^2 / (n + z^2)     (Tango 1998)
    every one of n items right: lower bound of the score      = (1 - confidence)^(1/n)  (Clopper, Pearson 1934)

Example: ``maxRegression: 0.01`` needs 268 items, and ``min: 0.9`` needs 29, at a confidence of 0.95.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from evalrun_api.spec.gates import CONFIDENCE


def least_items(margin: float, confidence: float = CONFIDENCE) -> int | None:
    """Return the least number of paired 0/1 items with which a loss above a margin can be excluded.

    It supposes that no item changed; every changed item takes more.

    Args:
        margin: The loss that is allowed, as a difference of scores between 0 and 1.
        confidence: One-sided confidence, between 0.5 and 1.

    Returns:
        At least 1; None where no number of unchanged items is enough, because the margin is 0.
    """
    if margin >= 1:
        return 1
    if margin <= 0:
        return None
    squared = NormalDist().inv_cdf(confidence) ** 2
    return max(1, math.ceil(squared * (1 - margin) / margin))


def least_items_for_bound(bound: float, confidence: float = CONFIDENCE) -> int | None:
    """Return the least number of 0/1 items with which a minimum can pass, which takes that all are right.

    A maximum ``m`` passes with as many wrong items as the minimum ``1 - m`` does with right ones.

    Args:
        bound: The minimum of the score.
        confidence: One-sided confidence, between 0.5 and 1.

    Returns:
        At least 1; None where no number of items is enough, because the bound is 1 or more.
    """
    if bound <= 0:
        return 1
    if bound >= 1:
        return None
    # Rounding may leave a whole number a hair above itself: 0.05 ** (1 / 1) for the bound 0.05.
    return max(1, math.ceil(math.log(1 - confidence) / math.log(bound) - 1e-9))
