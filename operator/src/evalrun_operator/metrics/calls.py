"""Counts and durations of calls to the API server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric as Family

from evalrun_api.metrics.operator import API_REQUESTS, API_SECONDS
from evalrun_operator.metrics.families import Histogram, LabelledCounter


class ApiCallMetrics:
    """Calls to the API server since the operator started."""

    def __init__(self) -> None:
        self._requests = LabelledCounter(API_REQUESTS)
        self._seconds = Histogram(API_SECONDS)

    def add(self, verb: str, kind: str, status: int | None, seconds: float) -> None:
        """Record a call that ended; ``status`` is its HTTP status, None without an answer."""
        self._requests.add(verb, kind, "none" if status is None else str(status))
        self._seconds.observe(seconds, verb)

    def by_verb_and_kind(self) -> Counter[tuple[str, str]]:
        """Count the calls by verb and kind."""
        counts: Counter[tuple[str, str]] = Counter()
        for (verb, kind, _), times in self._requests.counts.items():
            counts[verb, kind] += times
        return counts

    def families(self) -> Iterator[Family]:
        """Yield the present values."""
        yield self._requests.family()
        yield self._seconds.family()
