"""prometheus_client's text, in pieces that can be kept and put together."""

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
    """Families as text."""
    return generate_latest(_Given(families))


def head(metric: Metric) -> bytes:
    """What comes before the series of a metric, once: two lines."""
    return page([metric.family()])


def lines(series: Mapping[Metric, Mapping[Labels, float]]) -> Mapping[Metric, bytes]:
    """The series by themselves, a line each."""
    # A line break within a label's value or the help is escaped, so that a head is two lines.
    return {metric: page([family_of(metric, values)]).split(b"\n", 2)[2] for metric, values in series.items()}
