"""Ratios of pairs, measured one after the other many times in alternating order."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum of some numbers."""

    least: float
    median: float
    greatest: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Compute the spread of at least one number.

        Raises:
            ValueError: There are no numbers.
        """
        listed = sorted(values)
        if not listed:
            raise ValueError("a spread needs at least one value")
        return cls(listed[0], statistics.median(listed), listed[-1], len(listed))

    @classmethod
    def of_ratios(cls, above: Sequence[float], below: Sequence[float]) -> Spread:
        """Compute the spread of ``above[n] / below[n]``, where each pair was measured in one round."""
        return cls.of(a / b for a, b in zip(above, below, strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    """Bound on a median, from below or above."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, spread: Spread) -> bool:
        """Return whether the median is within the bound."""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= spread.median <= high

    def __str__(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Compute the nearest-rank percentile.

    Args:
        values: The values.
        share: The percentile as a share from 0 to 1.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def in_rounds(sides: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run every side once per round, each round in the reverse order of the previous one (A B, B A, …).

    A machine that slowly becomes hotter or busier then favors neither side.
    """
    taken: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(reversed([*sides]))
        for name in names:
            taken[name].append(sides[name]())
    return taken
