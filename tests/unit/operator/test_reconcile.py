"""One reconcile: what is read again afterwards, when the run is requeued, and how a refusal is reported."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from evalrun_api import EvalRunStatus, Phase, RunProgress
from evalrun_operator.kube.errors import ChildRefused, Forbidden
from evalrun_operator.kube.objects import JOBS, Create
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.names import run_labels
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import RECONCILES_PER_SECOND, Reconciler
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import DriverPhase, ObservedDriver
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi, FakeBackend

SETTINGS = OperatorSettings()
READY = ObservedDriver(DriverPhase.READY, address="10.0.0.5")
DRIVER = Create(JOBS, {"metadata": {"name": "x-a1-driver", "labels": run_labels(make_run().uid)}})


@dataclass
class Scene:
    backend: FakeBackend
    api: FakeApi = field(default_factory=FakeApi)

    def __post_init__(self) -> None:
        async def ask(_: str) -> RunProgress | None:
            return None

        observer = Observer(self.api, self.backend, ask, lambda: NOON)  # type: ignore[arg-type]
        runs = ObservedRuns(SETTINGS.metrics)
        self.reconciler = Reconciler(self.api, self.backend, observer, SETTINGS, lambda: NOON, runs)  # type: ignore[arg-type]

    def having(self, *runs: Builder) -> Scene:
        for run in runs:
            manifest = run.manifest()
            manifest["metadata"]["resourceVersion"] = "1"
            self.api.objects["EvalRun", run.name] = manifest
        return self

    def look(self, name: str = "x") -> float | None:
        return asyncio.run(self.reconciler.reconcile(Key("team", name)))

    @property
    def lists(self) -> int:
        return sum(one.startswith("list Job") for one in self.api.read)


def test_deleted_run_is_not_requeued() -> None:
    assert Scene(FakeBackend()).look() is None


def test_children_are_reread_after_a_write() -> None:
    scene = Scene(FakeBackend(READY)).having(make_run("x"))
    scene.look()
    scene.look()
    assert scene.lists == 1
    scene.backend.writes = (DRIVER,)
    scene.look()
    scene.look()
    assert scene.lists == 2
    assert scene.api.log.count("create Job x-a1-driver") == 1


def test_very_many_runs_are_reconciled_less_often() -> None:
    runs = [make_run(f"x{number}") for number in range(int(RECONCILES_PER_SECOND * SETTINGS.progress_seconds * 3))]
    scene = Scene(FakeBackend(READY)).having(*runs)
    assert scene.look("x0") == SETTINGS.progress_seconds
    assert [scene.look(run.name) for run in runs][-1] == pytest.approx(3 * SETTINGS.progress_seconds)
    done = replace(runs[1], status=EvalRunStatus(phase=Phase.FAILED, finished_at=NOON))
    scene.having(done).look(done.name)
    rest = scene.look("x0")
    assert rest is not None and rest < 3 * SETTINGS.progress_seconds, "a finished run is not among them"


def test_refused_child_is_reported_as_event_and_retried() -> None:
    scene = Scene(FakeBackend(writes=(DRIVER,))).having(make_run("x"))
    scene.api.failing("create", JOBS, Forbidden("create", "exceeded quota", status=403))
    with pytest.raises(ChildRefused):
        scene.look()
    (event,) = scene.api.events
    assert (event["type"], event["reason"]) == ("Warning", "ChildRefused")
    assert event["message"] == "the Job x-a1-driver was refused: exceeded quota"
