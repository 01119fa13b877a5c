"""Choose how two runs' scores on the same items are compared, by the kind of the scores.

| scores | interval and margin | p-value of a difference |
|---|---|---|
| 0 and 1 | Tango | McNemar, exact |
| bounded | t, with two pseudo-items below 100 changed items | sign flips |
| without bounds | t | sign flips |

Items in declared clusters count for fewer: every number of items is divided by the design effect of the differences,
their CR2 variance over the variance without clusters, at least 1, and t quantiles take the place of normal ones. Where
no item changed the design effect is the mean size of a cluster.

Sources: Miller, arXiv 2411.00640 (2024), for clusters of paired differences; `clusters` for the variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from evalrun_runner.statistics.arrays import FloatArray, Numbers, vector
from evalrun_runner.statistics.clusters import ONE_CLUSTER, Clusters, clustered_mean
from evalrun_runner.statistics.interval import CONFIDENCE, Interval, Method, Target
from evalrun_runner.statistics.paired import NO_ITEMS, MarginTest, PairedCounts, compare_with_margin, tango_limits
from evalrun_runner.statistics.paired_scores import DifferenceSummary, difference_interval, summarize

UNIT_RANGE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class PairedData:
    """Scores of two runs on the items that both have.

    Attributes:
        candidate: one score an item, shape (n,); an item with repeats has the mean of its repeats.
        baseline: scores of the same items in the same order.
        bounds: least and greatest possible score, or None if there are none.
        clusters: declared cluster of every item, shape (n,), or None.
    """

    candidate: Numbers
    baseline: Numbers
    bounds: tuple[float, float] | None = UNIT_RANGE
    clusters: Clusters | None = None

    def __post_init__(self) -> None:
        if len(self.candidate) != len(self.baseline):
            found = f"{len(self.candidate)} scores against {len(self.baseline)}"
            raise ValueError(f"{found}: expected the same items on both sides")

    @property
    def swapped(self) -> PairedData:
        """The same items with candidate and baseline exchanged."""
        return replace(self, candidate=self.baseline, baseline=self.candidate)

    @property
    def is_binary(self) -> bool:
        """Whether every score is at one of the ends of the range."""
        if self.bounds is None:
            return False
        ends = np.asarray(self.bounds)
        return bool(np.isin(self.arrays[0], ends).all() and np.isin(self.arrays[1], ends).all())

    @property
    def arrays(self) -> tuple[FloatArray, FloatArray]:
        """Scores of candidate and baseline, shape (n,) each."""
        return vector(self.candidate, "candidate"), vector(self.baseline, "baseline")

    @property
    def difference(self) -> float:
        """Mean of candidate minus baseline; 0 without items."""
        new, old = self.arrays
        return float((new - old).mean()) if new.size else 0.0


@dataclass(frozen=True, slots=True)
class BinaryComparison:
    """Comparison of 0/1 scores by Tango's test.

    Attributes:
        counts: the common items; effective numbers if they come in clusters.
        reach: distance between the two possible scores; 1 unless they are not 0 and 1.
        df: degrees of freedom; infinite for independent items.
    """

    counts: PairedCounts
    reach: float = 1.0
    df: float = math.inf

    def limits(self, confidence: float) -> tuple[float, float]:
        """Return the bounds that the difference keeps to, each with the confidence (one-sided)."""
        low, high = tango_limits(self.counts, max(float(stdtrit(self.df, confidence)), 0.0))
        return self.reach * low, self.reach * high

    def compare_with_margin(self, margin: float) -> MarginTest:
        """Test whether the candidate is worse by more than the margin, in the unit of the score."""
        return compare_with_margin(self.counts, margin / self.reach, self.df)


PairedComparison = BinaryComparison | DifferenceSummary
"""A comparison by the method for its data: bounds by `limits`, a margin by `compare_with_margin`."""


def compare(data: PairedData) -> PairedComparison:
    """Choose the comparison for the data.

    Raises:
        ValueError: a score is nan, infinite or outside its bounds.
    """
    new, old = data.arrays
    if data.bounds is None:
        return thinned(summarize(new - old, (-math.inf, math.inf)), new - old, data.clusters)
    lowest, highest = data.bounds
    reach = highest - lowest
    if not data.is_binary:
        return thinned(summarize(new - old, (-reach, reach)), new - old, data.clusters)
    counts = PairedCounts.of((new == highest).astype(float), (old == highest).astype(float))
    design = design_effect(new - old, data.clusters)
    return BinaryComparison(counts.shrunk(design.factor), reach, design.df)


def thinned(summary: DifferenceSummary, differences: FloatArray, clusters: Clusters | None) -> DifferenceSummary:
    """Return the summary of differences whose items come in clusters, with effective numbers."""
    design = design_effect(differences, clusters)
    return replace(summary, n=summary.n / design.factor, changed=summary.changed / design.factor, df=design.df)


@dataclass(frozen=True, slots=True)
class DesignEffect:
    """How much less clustered items say than independent ones.

    Attributes:
        factor: what numbers of items are divided by; 1 for independent items, infinite for a single cluster.
        df: degrees of freedom of the statistic; infinite for independent items.
    """

    factor: float = 1.0
    df: float = math.inf


def design_effect(differences: FloatArray, clusters: Clusters | None) -> DesignEffect:
    """Return the design effect of clusters on the mean of paired differences.

    Args:
        differences: candidate minus baseline for each item, shape (n,).
        clusters: cluster of every item, or None: items are independent.
    """
    n = differences.size
    if clusters is None or n == 0:
        return DesignEffect()
    found = clustered_mean(differences, clusters)
    if found.clusters == 1:
        return DesignEffect(math.inf, 1.0)
    if found.clusters == n:
        return DesignEffect()
    plain = float(differences.var(ddof=1)) / n
    factor = max(found.variance / plain, 1.0) if plain > 0 else n / found.clusters
    return DesignEffect(factor, found.degrees)


def paired_interval(data: PairedData, confidence: float = CONFIDENCE) -> Interval:
    """Return the two-sided interval of candidate minus baseline, with a width above zero.

    Args:
        data: scores of the common items; without any, the interval is every possible difference.
        confidence: two-sided, between 0 and 1.

    Raises:
        ValueError: a score is nan, infinite or outside its bounds.
    """
    chosen = compare(data)
    if isinstance(chosen, DifferenceSummary):
        found = difference_interval(chosen, confidence)
    else:
        low, high = chosen.limits((1 + confidence) / 2)
        found = Interval(low, high, confidence, Method.TANGO)
    if len(data.candidate) == 0:
        return replace(found, method=Method.WHOLE_RANGE, note=NO_ITEMS)
    if data.clusters is None or math.isinf(chosen.df):
        return found
    method = Method.TANGO_CLUSTERED if isinstance(chosen, BinaryComparison) else found.method
    single = chosen.df <= 1 and found.high - found.low >= 2 * _reach(data)
    return replace(found, method=method, target=Target.CLUSTERS, note=ONE_CLUSTER if single else found.note)


def _reach(data: PairedData) -> float:
    return math.inf if data.bounds is None else data.bounds[1] - data.bounds[0]
