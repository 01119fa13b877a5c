"""Tables of coverage, claims about them, and the page that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from bench.report import table
from evalrun_runner.statistics.interval import Interval, NoInterval

Answer: TypeAlias = Interval | NoInterval


@dataclass(frozen=True, slots=True)
class Claim:
    """Statement about a table, with the number that decides it.

    Attributes:
        text: what is claimed, with its bound.
        found: percentage that was found.
        at_least: least percentage of the claim, or None.
        at_most: greatest percentage of the claim, or None.
        error: standard error of the found percentage; 0 if it was computed exactly.
    """

    text: str
    found: float
    at_least: float | None = None
    at_most: float | None = None
    error: float = 0.0

    @property
    def verdict(self) -> str:
        """Whether the claim holds; a miss by less than two standard errors is said to be within the simulation's."""
        missing = max(
            -math.inf if self.at_least is None else self.at_least - self.found,
            -math.inf if self.at_most is None else self.found - self.at_most,
        )
        if missing <= 1e-9:
            return "met"
        return "within the simulation's error" if missing <= 2 * self.error else "**missed**"


@dataclass(frozen=True, slots=True)
class CoverageTable:
    """Table of the page: how it was made, its numbers, and the claims that they decide."""

    title: str
    how: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    claims: Sequence[Claim] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tally:
    """Simulated answers against the true value.

    Attributes:
        covered: percentage of answers that hold the true value; an answer without interval holds every value.
        above: percentage whose lower bound is above it.
        below: percentage whose upper bound is below it.
        width: mean width.
        count: number of simulated answers.
    """

    covered: float
    above: float
    below: float
    width: float
    count: int

    @property
    def error(self) -> float:
        """Standard error of the covered percentage, in points."""
        return self._error(self.covered)

    @property
    def side_error(self) -> float:
        """Standard error of the percentage on the side that misses more often, in points."""
        return self._error(max(self.above, self.below))

    def _error(self, percentage: float) -> float:
        share = min(max(percentage / 100, 0.5 / self.count), 1 - 0.5 / self.count)
        return 100 * math.sqrt(share * (1 - share) / self.count)


def simulate(
    answer: Callable[[np.random.Generator], Answer], truth: float, repetitions: int, seed: Sequence[int]
) -> Tally:
    """Simulate data sets, and count where their intervals lie.

    Args:
        answer: draws a data set and returns its interval.
        truth: true value.
        repetitions: number of data sets.
        seed: of the random numbers; different for each cell of a table.
    """
    random, above, below, width = np.random.default_rng(list(seed)), 0, 0, 0.0
    for _ in range(repetitions):
        found = answer(random)
        if isinstance(found, Interval):
            # Rounding of the true value is no miss.
            above += found.low > truth + 1e-12
            below += found.high < truth - 1e-12
            width += found.width
        else:
            width += math.inf
    missed = above + below
    share = 100 / repetitions
    return Tally(100 - share * missed, share * above, share * below, width / repetitions, repetitions)


def worst(tallies: Sequence[Tally]) -> Tally:
    """Return the tally with the least coverage."""
    return min(tallies, key=lambda tally: tally.covered)


def mean_claim(text: str, tallies: Sequence[Tally], at_least: float, at_most: float) -> Claim:
    """Return a claim about the mean coverage of several cells."""
    error = math.sqrt(sum(tally.error**2 for tally in tallies)) / len(tallies)
    return Claim(text, float(np.mean([tally.covered for tally in tallies])), at_least, at_most, error)


def least_claim(text: str, tallies: Sequence[Tally], at_least: float) -> Claim:
    """Return a claim about the least coverage of several cells."""
    least = worst(tallies)
    return Claim(text, least.covered, at_least, error=least.error)


def render(introduction: str, tables: Sequence[CoverageTable], made: Mapping[str, str]) -> str:
    """Render the page."""
    claims = [
        [claim.text, f"{claim.found:.2f}%" + (f" ± {claim.error:.2f}" if claim.error else ""), claim.verdict]
        for one in tables
        for claim in one.claims
    ]
    parts = [
        introduction.strip(),
        "## Claims",
        "Each number is from a table below. What follows ± is one standard error of the simulation; numbers without it "
        "are exact.",
        table(["claim", "found", ""], claims),
        "How the tables were made: " + "; ".join(f"{name} {value}" for name, value in made.items()) + ".",
    ]
    for one in tables:
        parts += [f"## {one.title}", one.how, table(one.header, one.rows)]
    return "\n\n".join(parts) + "\n"
