"""Calls of the API server, counted and timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric as Family

from evalrun_api.metrics.operator import API_REQUESTS, API_SECONDS
from evalrun_operator.metrics.families import Histogram, LabelledCounter


class ApiCallMetrics:
    """Since the operator began."""

    def __init__(self) -> None:
        self._requests = LabelledCounter(API_REQUESTS)
        self._seconds = Histogram(API_SECONDS)

    def add(self, verb: str, kind: str, status: int | None, seconds: float) -> None:
        """One that ended; ``status`` is its HTTP status, None: nobody answered."""
        self._requests.add(verb, kind, "none" if status is None else str(status))
        self._seconds.observe(seconds, verb)

    def by_verb_and_kind(self) -> Counter[tuple[str, str]]:
        """How many there were."""
        counts: Counter[tuple[str, str]] = Counter()
        for (verb, kind, _), times in self._requests.counts.items():
            counts[verb, kind] += times
        return counts

    def families(self) -> Iterator[Family]:
        """As they are now."""
        yield self._requests.family()
        yield self._seconds.family()
