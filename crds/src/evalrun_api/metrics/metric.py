"""A metric: what it is called, what it means, and how it is told to Prometheus.

Names follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/): base units, ``_total`` for
counters, ``_info`` for facts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)

LONGEST_LABEL = 256
"""Characters of a label's value: no run's or task's name is cut, so that two of them stay two."""
RUN = ("run_namespace", "run")
"""Labels of what belongs to a run: its EvalRun's namespace and name. ``namespace`` would be that of the scraped pod."""

# The last but one is what PromQL takes for broken UTF-8: a query that names it is refused. Dashboards put a chosen name
# between backticks, where nothing needs to be escaped, and a backtick cannot be.
_UNTELLABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd`]")


class MetricType(StrEnum):
    """Prometheus' types."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Who exports a metric."""

    DRIVER = "driver"
    """The driver of a run, while it lives."""
    OPERATOR = "operator"
    """The operator: of runs that wait, of finished ones, and of itself."""
    BOTH = "both"
    """Driver and operator, never the same series: the driver has ``final="false"``, the operator ``final="true"``."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, as all parts of EvalRun and its documentation know it.

    ``name`` is what is typed into a query; of a histogram without ``_bucket``, ``_sum`` and ``_count``. ``labels`` are
    those of each series in this order; ``buckets`` are a histogram's upper bounds without ``+Inf``.
    """

    name: str
    kind: MetricType
    help: str
    labels: tuple[str, ...]
    source: Source
    buckets: tuple[float, ...] = ()

    def family(self) -> Family:
        """An empty family of series, for a collector: its ``add_metric`` takes the labels' values, then the number.

        Values of labels that come from users go through ``label_value``.
        """
        match self.kind:
            case MetricType.GAUGE:
                return GaugeMetricFamily(self.name, self.help, labels=self.labels)
            case MetricType.COUNTER:
                return CounterMetricFamily(self.name, self.help, labels=self.labels)
            case MetricType.HISTOGRAM:
                return HistogramMetricFamily(self.name, self.help, labels=self.labels)

    @property
    def series(self) -> tuple[str, ...]:
        """The names that queries may use."""
        if self.kind is MetricType.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def label_value(text: str) -> str:
    """A name that a user chose, as the value of a label: one line that a query can name, not too long.

    Quotes and backslashes are the exposition's to escape.
    """
    plain = _UNTELLABLE.sub("_", text)
    return plain if len(plain) <= LONGEST_LABEL else plain[: LONGEST_LABEL - 1] + "…"
