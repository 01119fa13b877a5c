"""Client of Prometheus' HTTP API for tests: series with their values, targets, rules, alerts."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

from cluster.errors import ClusterError
from cluster.process import until

_TIMEOUT_S = 20.0
_POLL_S = 0.25

Labels = dict[str, str]


class Value(NamedTuple):
    """Value of a series at one moment."""

    labels: Labels
    value: float


class Line(NamedTuple):
    """Series over time: pairs of Unix time and value."""

    labels: Labels
    points: list[tuple[float, float]]


class PrometheusApi(ABC):
    """API of a Prometheus."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Address of the server: ``http://host:port``."""

    def query(self, expression: str, at: float | None = None) -> list[Value]:
        """Query the series of an expression now, or at a Unix time; a scalar is a series without labels.

        Raises:
            ClusterError: Prometheus refuses the expression; the message says why.
        """
        data = self._get("query", {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"}))
        if data["resultType"] == "scalar":
            return [Value({}, float(data["result"][1]))]
        return [Value(one["metric"], float(one["value"][1])) for one in data["result"]]

    def one(self, expression: str, at: float | None = None) -> float:
        """Query the value of an expression that has exactly one."""
        found = self.query(expression, at)
        assert len(found) == 1, f"{expression} has {len(found)} values: {found}"
        return found[0].value

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Line]:
        """Query the series of an expression between two Unix times, every ``step`` seconds.

        Raises:
            ClusterError: Prometheus refuses the expression; the message says why.
        """
        data = self._get("query_range", {"query": expression, "start": start, "end": end, "step": step})
        return [Line(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in data["result"]]

    def label_values(self, label: str, selector: str) -> list[str]:
        """Query the values of a label among the series of a selector, at any time."""
        found: list[str] = self._get(f"label/{urllib.parse.quote(label)}/values", {"match[]": selector})
        return found

    def metadata(self, family: str) -> list[dict[str, str]]:
        """Query the metadata of a metric, ``type`` and ``help``; one entry if all targets agree."""
        found: dict[str, list[dict[str, str]]] = self._get("metadata", {"metric": family})
        return found.get(family, [])

    def targets(self) -> list[dict[str, Any]]:
        """Query the targets: ``labels``, ``scrapeUrl``, ``health``, ``lastError``, ``lastScrapeDuration`` …."""
        found: list[dict[str, Any]] = self._get("targets", {"state": "active"})["activeTargets"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Query the rules of all groups: ``name``, ``type``, ``query``, ``health``, ``lastError`` …."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Query pending and firing alerts: ``labels``, ``annotations``, ``state``, ``value``."""
        found: list[dict[str, Any]] = self._get("alerts", {})["alerts"]
        return found

    def firing(self, name: str) -> list[dict[str, Any]]:
        """Query the firing alerts of this name."""
        return [one for one in self.alerts() if (one["labels"]["alertname"], one["state"]) == (name, "firing")]

    def reload(self) -> None:
        """Reload its configuration and rules.

        Raises:
            ClusterError: It refuses them; the message says why.
        """
        self._ask(urllib.request.Request(f"{self.url}/-/reload", method="POST"))

    def ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            self._ask(urllib.request.Request(f"{self.url}/-/ready"))
        except (OSError, ClusterError):
            return False
        return True

    def wait_for_series(self, expression: str, seconds: float = 30.0) -> list[Value]:
        """Wait until an expression has a value, and return its series.

        Raises:
            ClusterError: It had none in time; the message shows the state of the targets.
        """
        found: list[Value] = []

        def there() -> bool:
            found[:] = self.query(expression)
            return bool(found)

        until(there, seconds, lambda: f"series of {expression}; targets: {self._shown()}", _POLL_S)
        return found

    def _shown(self) -> str:
        return "; ".join(f"{one['scrapeUrl']} {one['health']} {one['lastError']}" for one in self.targets()) or "none"

    def _get(self, path: str, parameters: Mapping[str, object]) -> Any:
        query = urllib.parse.urlencode(parameters)
        return json.loads(self._ask(urllib.request.Request(f"{self.url}/api/v1/{path}?{query}")))["data"]

    def _ask(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise ClusterError(f"Prometheus answers {error.code} to {request.full_url}: {said}") from None
