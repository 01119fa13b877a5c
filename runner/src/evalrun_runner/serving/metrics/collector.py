"""The newest view of a run as families of series. Scrapes take what was last shown: nothing waits for them."""

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
from evalrun_runner.serving.metrics.replicas import PassingTime, tell_engines, tell_places, tell_replicas, tell_store
from evalrun_runner.serving.metrics.scores import tell_scores
from evalrun_runner.serving.metrics.work import tell_commits, tell_progress


@dataclass(frozen=True, slots=True)
class _Latest:
    """What is known: of items and replicas it stays, whatever the driver is busy with afterwards."""

    view: View
    progress: ProgressSnapshot | None
    telemetry: TelemetrySnapshot | None


class RunMetrics:
    """A collector of prometheus_client's. ``update`` and ``collect`` may be called by any thread, also at once.

    ``clock`` is that of the views' snapshots.
    """

    def __init__(self, config: RunConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._run = label_value(config.namespace), label_value(config.name)
        self._model = label_value(config.model.name)
        engine = "vllm" if config.spec.engine.mock is None else "mock"
        numerics = config.spec.engine.numerics.value
        self._facts = self._model, str(config.attempt), engine, numerics, version("evalrun-runner")
        self._passing_time = PassingTime()
        self._latest = _Latest(View(Phase.STARTING), None, None)
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def update(self, view: View) -> None:
        """Take the newest view."""
        before = self._latest
        self._latest = _Latest(view, view.progress or before.progress, view.telemetry or before.telemetry)

    def collect(self) -> Iterable[Family]:
        """The families of one scrape; what is not known yet has no series."""
        latest = self._latest
        families = Families(self._run)
        self._tell_driver(families, latest)
        if latest.progress is not None:
            tell_progress(families, latest.progress, busy=latest.view.progress is not None)
        if latest.telemetry is not None:
            self._tell_telemetry(families, latest.telemetry)
        return families

    def _tell_driver(self, families: Families, latest: _Latest) -> None:
        config = self._config
        families.tell(driver.DRIVER_INFO, 1, *self._facts)
        families.tell(driver.DRIVER_PHASE, 1, latest.view.phase.value)
        families.tell(driver.ITEMS_ALLOWED, config.spec.policy.max_failed_items)
        families.tell(driver.REPLICAS_WANTED, config.spec.replicas.count)
        families.tell(driver.STORE_DEGRADED, latest.view.degraded is not None)

    def _tell_telemetry(self, families: Families, telemetry: TelemetrySnapshot) -> None:
        together = telemetry.replicas_total()
        seconds = self._passing_time.seconds(telemetry, self._clock())
        tell_commits(families, telemetry)
        tell_replicas(families, telemetry, seconds, self._config.gpus_per_replica)
        tell_places(families, telemetry)
        tell_engines(families, telemetry, together)
        tell_store(families, "driver", telemetry.store)
        tell_store(families, "replica", together.store)
        tell_scores(families, telemetry, self._model)
