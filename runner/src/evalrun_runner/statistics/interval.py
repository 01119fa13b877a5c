"""Interval of a score, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CONFIDENCE = 0.95
"""Confidence of an interval and of a gate unless another one is asked for."""


class Target(StrEnum):
    """What an interval generalises to: in what kind of repetition the score would fall into it as often as it says."""

    ITEMS = "items"
    """Other items like these."""
    RERUN = "rerun"
    """The same benchmark once more, with the same items. Needs repeats."""
    CLUSTERS = "clusters"
    """Other clusters like these: other passages, other templates, with their items."""


class Method(StrEnum):
    """How an interval was computed. The text stands in results and reports."""

    WILSON = "wilson"
    CLOPPER_PEARSON = "clopper-pearson"
    WILSON_CLUSTERED = "wilson-clustered"
    """Wilson's interval on the effective number of items, from a clustered variance (CR2)."""
    CLOPPER_PEARSON_CLUSTERED = "clopper-pearson-clustered"
    STUDENT_T = "t"
    STUDENT_T_CLUSTERED = "t-clustered"
    PLUS_FOUR = "plus-four-t"
    WILSON_JACCARD = "wilson-jaccard"
    """Wilson's interval on TP / (TP + FP + FN), mapped to F1."""
    WILSON_RATIO = "wilson-ratio"
    """Wilson's interval on the effective size of a ratio of sums."""
    STUDENT_T_RATIO = "t-ratio"
    WILSON_STRATIFIED = "wilson-stratified"
    STUDENT_T_STRATIFIED = "t-stratified"
    RERUN_NORMAL = "rerun-normal"
    BCA = "bca"
    WHOLE_RANGE = "whole-range"
    """Every possible value: the data carry no information on the spread."""
    TANGO = "tango"
    TANGO_CLUSTERED = "tango-clustered"
    NEWCOMBE = "newcombe"
    BONETT_PRICE = "bonett-price"
    PAIRED_T = "paired-t"
    PAIRED_PLUS_TWO = "paired-plus-two-t"


def percent(confidence: float, digits: int = 3) -> str:
    """Return a confidence for people, with more digits than asked for where they would make a certainty of it.

    Args:
        confidence: below 1.
        digits: significant digits.
    """
    text = f"{100 * confidence:.{digits}g}"
    return f"{text}%" if float(text) < 100 or digits >= 17 else percent(confidence, digits + 1)


@dataclass(frozen=True, slots=True)
class Interval:
    """Two-sided confidence interval, bounds included.

    Attributes:
        low: lower bound, in the unit of the score.
        high: upper bound, above `low`.
        confidence: share of repetitions in which such an interval holds the true value, between 0 and 1.
        method: how it was computed.
        target: what it generalises to.
        note: what the reader should know about it; empty if there is nothing to say.
    """

    low: float
    high: float
    confidence: float
    method: Method
    target: Target = Target.ITEMS
    note: str = ""

    @property
    def width(self) -> float:
        """Distance between the bounds, in the unit of the score."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class NoInterval:
    """Statement that the data allow no interval.

    Attributes:
        reason: why, for people; without a full stop.
    """

    reason: str
