"""Families of one scrape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from evalrun_api.metrics import Metric
from evalrun_runner.records.messages import Latencies


class Families:
    """Families that one scrape fills. Every series has the labels ``run``: namespace and name."""

    def __init__(self, run: tuple[str, str]) -> None:
        self._run = run
        self._families: dict[str, Family] = {}

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a series of a gauge or counter; ``labels`` follow the run's labels."""
        family = self._of(metric)
        assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
        family.add_metric([*self._run, *labels], value)

    def add_histogram(self, metric: Metric, seconds: Latencies) -> None:
        """Add a histogram; latencies without buckets mean that nothing was observed yet."""
        family = self._of(metric)
        assert isinstance(family, HistogramMetricFamily)
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        counts = seconds.buckets or (0,) * len(bounds)
        family.add_metric(self._run, [*zip(bounds, accumulate(counts), strict=True)], seconds.total)

    def _of(self, metric: Metric) -> Family:
        family = self._families.get(metric.name)
        if family is None:
            family = self._families[metric.name] = metric.family()
        return family

    def __iter__(self) -> Iterator[Family]:
        return iter(self._families.values())
