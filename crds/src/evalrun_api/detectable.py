"""Compute how many items a gate needs before it can pass at all. Closed formulas, without a library.

A confidence bound that is exact never reaches its score: with few items even a perfect result proves too little.

    no changed item among n:    lower bound of the difference = -z^2 / (n + z^2)     (Tango 1998)
    every one of n items right: lower bound of the score      = (1 - confidence)^(1/n)  (Clopper, Pearson 1934)

    and its exact guard:        1 - (1 - confidence)^(1/n)

A regression passes by Tango's bound and by the guard, which near no changed items is the stricter one at the usual
confidence. Example at 0.95: to exclude a loss of 0.01 takes 268 items by Tango's bound alone and 299 with the guard;
``min: 0.9`` takes 29.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

from evalrun_api.spec.gates import CONFIDENCE, Gate, GateRule

UNLESS = " (fewer only if the model became better)"


def least_items(margin: float, confidence: float = CONFIDENCE) -> int | None:
    """Return the least number of paired 0/1 items with which Tango's bound excludes a loss above a margin.

    It supposes that no item changed; every lost item takes more. A gate needs ``least_items_to_pass``.

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


def least_items_to_pass(margin: float, confidence: float = CONFIDENCE) -> int | None:
    """Return the least number of paired 0/1 items with which a gate on a regression passes if no item changed.

    Args:
        margin: The loss that is allowed, as a difference of scores between 0 and 1.
        confidence: One-sided confidence, between 0.5 and 1.

    Returns:
        At least 1; None where no number of unchanged items is enough, because the margin is 0.
    """
    by_tango = least_items(margin, confidence)
    return None if by_tango is None else max(by_tango, least_items_for_bound(1 - margin, confidence) or by_tango)


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


def needed_items(gate: Gate) -> Iterator[tuple[str, int | None]]:
    """Yield how many items each criterion of a gate needs before it can pass, if its metric is 0 or 1 for each item.

    Args:
        gate: A gate; one with ``rule: point`` needs none.

    Yields:
        The criterion as it is written, ``maxRegression: 0.01``, and the number; None where none is enough.
    """
    if gate.resolved_rule is GateRule.POINT:
        return
    confidence = gate.resolved_confidence
    if gate.min is not None:
        yield f"min: {gate.min:g}", least_items_for_bound(gate.min, confidence)
    if gate.max is not None:
        yield f"max: {gate.max:g}", least_items_for_bound(1 - gate.max, confidence)
    if gate.max_regression:
        yield f"maxRegression: {gate.max_regression:g}", least_items_to_pass(gate.max_regression, confidence)
    if gate.max_relative_regression:
        share = gate.max_relative_regression
        # At least as many as for the same loss of a perfect baseline.
        yield f"maxRelativeRegression: {share:g}", least_items_to_pass(share, confidence)


def why_never(gate: Gate, items: int) -> str | None:
    """Say why no answers could pass a gate with a number of items; None where some could.

    Args:
        gate: The gate; its metric is 0 or 1 for each item.
        items: Number of items that its score is made of.
    """
    found = [
        f"no number of items can prove {criterion}"
        if needed is None
        else f"{criterion} needs at least {needed:,} items{UNLESS if 'Regression' in criterion else ''}, and there are "
        f"{items:,}"
        for criterion, needed in needed_items(gate)
        if needed is None or needed > items
    ]
    return "; ".join(found) or None
