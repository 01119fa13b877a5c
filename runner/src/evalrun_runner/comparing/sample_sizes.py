"""How many items find a difference, what a number of items can find, and how often a gate passes. Pure.

Two runs are compared on the same items. With n items, of which a share D changes, the difference has a standard error
of sqrt(D / n). So a true difference d is found with a chance c, at a two-sided confidence k, by

    n = (z(k) + z(c))^2 D / d^2 items        z(k): two-sided, z(c): one-sided quantile of the normal distribution

Example: D = 0.128 (two models at 80% whose answers go together as usual), d = 0.02, k = 0.95, c = 0.8: 2,512 items.

A gate that allows a loss m passes with a chance of about Phi(m sqrt(n / D) - z), but never below the number of items
that it takes without any changed item (``evalrun_api.detectable``); ``statistics.power`` has the exact chance.

**Repeats.** Of two runs of one model a share F of the items flips: the noise. K repeats of each item in both runs leave
D - F + F / K of the share that changes: repeats remove noise and nothing else.

Sources: Connor, Biometrics 43 (1987) 207, for paired shares; Miller, arXiv:2411.00640, for repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr

from evalrun_runner.statistics.power import regression_chances
from evalrun_runner.statistics.proportions import normal_quantile

EXACT_ITEMS = 20_000
"""Items up to which every outcome of a gate is enumerated; above, the approximation is as good."""
TOGETHER = 0.6
"""Usual correlation of the right answers of two models on the same items."""


@dataclass(frozen=True, slots=True)
class ChangedShare:
    """Share of items whose score changes between two runs.

    Attributes:
        share: in one answer of each run, above 0 to 1.
        noise: share that flips between two runs of one model, 0 to ``share``.
        repeats: answers of each item in each run, from 1.
    """

    share: float
    noise: float = 0.0
    repeats: int = 1

    @property
    def effective(self) -> float:
        """Share that decides the standard error: without the noise that repeats remove."""
        return self.share - self.noise + self.noise / self.repeats


def usual_changed_share(score: float) -> float:
    """Return the share of items that changes between two models of about the same score, 0 to 1.

    At 80% it is 12.8%: twice the variance of an item, less what the models have in common.
    """
    return 2 * score * (1 - score) * (1 - TOGETHER)


def items_for_difference(difference: float, changed: ChangedShare, confidence: float, chance: float) -> int:
    """Return how many items find a difference.

    Args:
        difference: true difference of the scores, above 0.
        changed: what changes between the runs; at least as much as they differ.
        confidence: two-sided.
        chance: of finding it, between 0 and 1.
    """
    quantiles = normal_quantile(confidence) + _one_sided(chance)
    # Items that differ on average cannot all be noise: their share is at least the difference.
    return max(1, math.ceil(quantiles**2 * max(changed.effective, difference) / difference**2 - 1e-9))


def detectable_difference(items: int, changed: ChangedShare, confidence: float, chance: float) -> float | None:
    """Return the least true difference that a number of items finds; None where they find none at all."""
    quantiles = normal_quantile(confidence) + _one_sided(chance)
    found = quantiles * math.sqrt(changed.effective / items)
    # As for items: no more items can differ on average than change.
    found = found if found <= changed.effective else max(found, quantiles**2 / items)
    return found if found <= 1 else None


def chance_to_pass(
    items: int, margin: float, changed: ChangedShare, confidence: float, difference: float = 0.0
) -> float:
    """Return how often a gate on a loss passes: exactly up to 20,000 items, above by the normal approximation.

    Args:
        items: number of items.
        margin: loss that the gate allows, above 0.
        changed: what changes between candidate and baseline.
        confidence: one-sided, of the gate.
        difference: true difference, candidate minus baseline.
    """
    if items <= EXACT_ITEMS and abs(difference) <= changed.effective:
        return regression_chances(items, margin, changed.effective, difference, confidence).passed
    z = (margin + difference) * math.sqrt(items / changed.effective) - _one_sided(confidence)
    return float(ndtr(z))


def _one_sided(chance: float) -> float:
    """Return the quantile of the normal distribution."""
    if chance == 0.5:
        return 0.0
    return math.copysign(normal_quantile(abs(2 * chance - 1)), chance - 0.5)
