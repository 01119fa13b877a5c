"""Conversion of the catalogue's metrics into prometheus_client's families: gauges, counters and histograms."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from evalrun_api.metrics import Metric

Labels = tuple[str, ...]
"""Values of a metric's labels, in its order."""


def family_of(metric: Metric, values: Mapping[Labels, float]) -> Family:
    """Build a gauge or a counter with these values."""
    family = metric.family()
    assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


class LabelledCounter:
    """A counter that starts with the process."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self.counts: Counter[Labels] = Counter()

    def add(self, *labels: str) -> None:
        """Count one more event with these labels."""
        self.counts[labels] += 1

    def family(self) -> Family:
        """Return the present values."""
        return family_of(self._metric, self.counts)


class Histogram:
    """A histogram that starts with the process; one without labels is exported from the start."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        bounds = (*metric.buckets, inf)
        self._bounds = [floatToGoString(bound) for bound in bounds]  # type: ignore[no-untyped-call]  # it is untyped
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not metric.labels:
            self._begin(())

    def observe(self, value: float, *labels: str) -> None:
        """Add one value with these labels."""
        if labels not in self._counts:
            self._begin(labels)
        self._counts[labels][bisect_left(self._metric.buckets, value)] += 1
        self._sums[labels] += value

    def family(self) -> Family:
        """Return the present values."""
        family = self._metric.family()
        assert isinstance(family, HistogramMetricFamily)
        for labels, counts in self._counts.items():
            buckets = list(zip(self._bounds, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, self._sums[labels])
        return family

    def _begin(self, labels: Labels) -> None:
        self._counts[labels] = [0] * len(self._bounds)
        self._sums[labels] = 0.0
