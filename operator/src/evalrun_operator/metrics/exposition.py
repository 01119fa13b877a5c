"""The page that Prometheus scrapes, in its classic text format.

The text of each run is cached, so that a page with a thousand runs costs little more than its transfer; the text of
OpenMetrics differs and would need a second cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from evalrun_operator.metrics import series
from evalrun_operator.metrics.operator import OperatorMetrics
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.metrics.text import head, page

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PIECE = 64
"""Runs whose lines of one metric are sent together: 150 kB where each has ten scores."""


@dataclass(frozen=True)
class Exposition:
    """Everything that the operator exports."""

    runs: ObservedRuns
    operator: OperatorMetrics
    now: Callable[[], datetime]
    _process: ProcessCollector = field(default_factory=lambda: ProcessCollector(registry=None))

    def pieces(self) -> Iterator[bytes]:
        """Yield the page as it is when the first piece is requested. Each metric's series are contiguous."""
        together = page([*self.runs.families(self.now()), *self.operator.families(), *self._process.collect()])
        texts = self.runs.texts()
        yield together
        for metric in series.METRICS:
            yield head(metric)
            of_metric = [text[metric] for text in texts if metric in text]
            for begin in range(0, len(of_metric), PIECE):
                yield b"".join(of_metric[begin : begin + PIECE])
