"""A metric: its name, its meaning, and its form in Prometheus.

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
"""Characters of a label value: no name of a run or task is cut, so that two of them stay distinct."""
RUN = ("run_namespace", "run")
"""Labels of everything about a run: namespace and name of its EvalRun. ``namespace`` would be the scraped pod's."""

# PromQL takes U+FFFD for broken UTF-8 and rejects a query that contains it. Dashboards put a chosen name between
# backticks, where nothing needs escaping, except a backtick, which cannot be escaped.
_UNQUERYABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd`]")


class MetricType(StrEnum):
    """Metric types of Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Component that exports a metric."""

    DRIVER = "driver"
    """The driver of a run, while it lives."""
    OPERATOR = "operator"
    """The operator: for waiting and finished runs, and about itself."""
    BOTH = "both"
    """Driver and operator, never the same series: the driver has ``final="false"``, the operator ``final="true"``."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as all parts of EvalRun and its documentation know it.

    ``name`` is what a query contains, for a histogram without ``_bucket``, ``_sum`` and ``_count``. ``labels`` are
    those of each series, in this order; ``buckets`` are the upper bounds of a histogram without ``+Inf``.
    """

    name: str
    kind: MetricType
    help: str
    labels: tuple[str, ...]
    source: Source
    buckets: tuple[float, ...] = ()

    def family(self) -> Family:
        """Create an empty family of series for a collector.

        Its ``add_metric`` takes the label values, then the number. Pass label values from users through
        ``label_value``.
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
        """Names of the series that queries may use."""
        if self.kind is MetricType.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def label_value(text: str) -> str:
    """Convert a name that a user chose into a label value: one line that a query can contain, not too long.

    The exposition escapes quotes and backslashes.
    """
    plain = _UNQUERYABLE.sub("_", text)
    return plain if len(plain) <= LONGEST_LABEL else plain[: LONGEST_LABEL - 1] + "…"
