"""The text of prometheus_client, in pieces that can be cached and joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from evalrun_api.metrics import Metric
from evalrun_operator.metrics.families import Labels, family_of


class _Given(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def page(families: Iterable[Family]) -> bytes:
    """Format families as text."""
    return generate_latest(_Given(families))


def head(metric: Metric) -> bytes:
    """Format what comes once before the series of a metric: two lines."""
    return page([metric.family()])


def lines(series: Mapping[Metric, Mapping[Labels, float]]) -> Mapping[Metric, bytes]:
    """Format the series alone, one line each."""
    # Line breaks in label values and in the help are escaped, so that a head is always two lines.
    return {metric: page([family_of(metric, values)]).split(b"\n", 2)[2] for metric, values in series.items()}
