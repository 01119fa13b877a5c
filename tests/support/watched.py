"""Runs of every kind, good and bad, which a Prometheus in the cluster scrapes from beginning to end.

The events are in ``watched_story``; tests of metrics, dashboards and alerts read them afterwards from Prometheus'
memory. Two things are faster than in production: scrapes every two seconds, and alerts without a delay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import yaml

from cluster.prometheus import Prometheus
from support.e2e import NAMESPACE, ROOT, Object, Platform, Run

RULES = ROOT / "helm" / "evalrun" / "files" / "rules.yaml"
SCRAPING = ROOT / "examples" / "monitoring" / "prometheus.yaml"


REAL, BAD, FAULTS, STUCK, QUEUED, ORPHAN = (
    "seen-real",
    "seen-bad",
    "seen-faults",
    "seen-stuck",
    "seen-queued",
    "seen-orphan",
)
RUNS = (REAL, BAD, FAULTS, STUCK, QUEUED, ORPHAN)
EASY, HARD, LONG_EASY, NEVER_ALL = 48, 24, 560, 128
"""Items of easy and hard in the run with bad items, of easy in the run with faults, and of the stuck run."""
DIES, REFUSED = (5, 17, 20), 11
"""Documents of hard that kill the engine, and the one that it refuses."""
STALLS = NEVER_ALL - 1
"""The document that never ends; it is not in the chunk of the refused one."""

QUICKER = {
    "EvalRunStalled": ("[5m]", "[10s]"),
    "EvalRunOperatorNotWatching": ("> 300", "> 30"),
    "EvalRunOperatorErrors": ("[15m]", "[15s]"),
}
"""Replacements in the tests' copy, besides all ``for``, of alerts whose expressions cover minutes."""


def scraping() -> dict[str, Any]:
    """Return the configuration that docs show to users of a plain Prometheus, with other times."""
    config: dict[str, Any] = yaml.safe_load(SCRAPING.read_text())
    config["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
    return config


def quicker_rules() -> str:
    """Return the chart's rules with `QUICKER`; every group is evaluated each second, alerts fire at once."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule.pop("for", None)
            if (change := QUICKER.get(rule.get("alert"))) is not None:
                assert change[0] in rule["expr"]
                rule["expr"] = rule["expr"].replace(*change)
    return yaml.safe_dump(rules)


@dataclass
class Watched:
    """Observed runs, and the Prometheus that scraped them."""

    platform: Platform
    prometheus: Prometheus
    began: float = field(default_factory=time.time)
    """Unix time."""
    fired: dict[str, Object] = field(default_factory=dict)
    """Alerts by name, as they were when the story waited for them."""

    def run(self, name: str) -> Run:
        """Return one of `RUNS`."""
        return Run(self.platform, name)

    @property
    def seconds(self) -> int:
        """Seconds since the start of the observation."""
        return int(time.time() - self.began) + 1

    def ever(self, function: str, series: str) -> float:
        """Query ``min`` or ``max`` over all values that series ever had."""
        return self.prometheus.one(f"{function}({function}_over_time({series}[{self.seconds}s]))")

    def ever_had(self, selector: str) -> bool:
        """Return whether such a series ever existed, even for a moment."""
        return bool(self.prometheus.query(f"last_over_time({selector}[{self.seconds}s])"))

    def at_some_time(self, expression: str, step: float = 5) -> bool:
        """Return whether an expression has a value at any moment that a graph would show."""
        return bool(self.prometheus.query_range(expression, self.began, self.began + self.seconds, step))

    def last(self, series: str) -> float:
        """Sum the last value of each series, including series that have ended."""
        return self.prometheus.one(f"sum(last_over_time({series}[{self.seconds}s]))")

    def clear(self) -> None:
        """Delete the runs and the Prometheus."""
        there = [name for name in RUNS if self.platform.cluster.api.find("evalruns", name, NAMESPACE) is not None]
        if there:
            self.platform.cluster.kubectl("-n", NAMESPACE, "delete", "evr", *there, "--wait=true")
        self.prometheus.remove()

    def fires(self, name: str, seconds: float = 60.0, **labels: str) -> None:
        """Wait until an alert fires that has these labels."""

        def firing() -> bool:
            found = [one for one in self.prometheus.firing(name) if labels.items() <= one["labels"].items()]
            if found:
                self.fired[name] = found[0]
            return bool(found)

        self.platform.cluster.wait_for(firing, seconds, f"{name} to fire for {labels}", NAMESPACE)
        self.say(f"{name} fires")

    def say(self, what: str) -> None:
        """Print what happens, and when, for readers of the test's output."""
        print(f"{time.time() - self.began:4.0f} s: {what}")
