"""Collector that turns the newest view of a run into families of series. Scrapes never make the driver wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric as Family

from evalrun_api import Phase, RunConfig
from evalrun_api.metrics import driver, label_value
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.telemetry import TelemetrySnapshot
from evalrun_runner.serving.metrics.families import Families
from evalrun_runner.serving.metrics.replicas import ReplicaTime, add_engines, add_replicas, add_slots, add_store
from evalrun_runner.serving.metrics.scores import add_scores
from evalrun_runner.serving.metrics.work import add_commits, add_progress


@dataclass(frozen=True, slots=True)
class _Latest:
    """Latest view, with the last known progress and telemetry, which later views may lack."""

    view: View
    progress: ProgressSnapshot | None
    telemetry: TelemetrySnapshot | None


class RunMetrics:
    """Collector for prometheus_client. Thread-safe.

    Args:
        config: The run.
        clock: The clock of the views' snapshots, in seconds.
    """

    def __init__(self, config: RunConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._run = label_value(config.namespace), label_value(config.name)
        self._model = label_value(config.model.name)
        engine = next(name for name in ("vllm", "mock", "recorded") if getattr(config.spec.engine, name) is not None)
        numerics = config.spec.engine.numerics.value
        self._facts = self._model, str(config.attempt), engine, numerics, version("evalrun-runner")
        self._replica_time = ReplicaTime()
        self._latest = _Latest(View(Phase.STARTING), None, None)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def update(self, view: View) -> None:
        """Replace the view with the newest one."""
        before = self._latest
        self._latest = _Latest(view, view.progress or before.progress, view.telemetry or before.telemetry)

    def collect(self) -> Iterable[Family]:
        """Return the families of one scrape; unknown values have no series."""
        latest = self._latest
        families = Families(self._run)
        self._add_driver(families, latest)
        if latest.progress is not None:
            add_progress(families, latest.progress, busy=latest.view.progress is not None)
        if latest.telemetry is not None:
            self._add_telemetry(families, latest.telemetry)
        return families

    def _add_driver(self, families: Families, latest: _Latest) -> None:
        config = self._config
        families.add(driver.DRIVER_INFO, 1, *self._facts)
        families.add(driver.DRIVER_PHASE, 1, latest.view.phase.value)
        families.add(driver.ITEMS_ALLOWED, config.spec.policy.max_failed_items)
        families.add(driver.REPLICAS_WANTED, config.spec.replicas.count)
        families.add(driver.STORE_DEGRADED, latest.view.degraded is not None)

    def _add_telemetry(self, families: Families, telemetry: TelemetrySnapshot) -> None:
        together = telemetry.replicas_total()
        seconds = self._replica_time.seconds(telemetry, self._clock())
        add_commits(families, telemetry)
        add_replicas(families, telemetry, seconds, self._config.gpus_per_replica)
        add_slots(families, telemetry)
        add_engines(families, telemetry, together)
        add_store(families, "driver", telemetry.store)
        add_store(families, "replica", together.store)
        add_scores(families, telemetry, self._model)
