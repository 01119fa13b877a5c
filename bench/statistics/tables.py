"""Order of the page's tables. A table is a function of the number of simulated data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.statistics import (
    early_stopping,
    exact_shares,
    paired_gates,
    simulated_clusters,
    simulated_gates,
    simulated_means,
)
from bench.statistics.page import CoverageTable

TABLES: Mapping[str, Callable[[int], CoverageTable]] = {
    "shares": exact_shares.shares,
    "means": simulated_means.means,
    "repeats": simulated_means.repeats,
    "labels": simulated_means.labels,
    "ratios": simulated_means.ratios,
    "groups": simulated_means.groups,
    "clusters": simulated_clusters.clusters,
    "gate-bounds": simulated_gates.gates,
    "regressions": paired_gates.regressions,
    "gate-families": paired_gates.families,
    "stopping": early_stopping.stopping,
}
