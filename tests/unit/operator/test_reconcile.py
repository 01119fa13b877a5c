"""One reconcile: what is read again afterwards, when the run is requeued, and how a refusal is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from evalrun_api import Counts, EvalRunStatus, Phase, RunProgress
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.errors import ChildRefused, Forbidden
from evalrun_operator.kube.objects import JOBS, PODS, Create, Kind
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.names import run_labels
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import LOOKS_PER_SECOND, Reconciler
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import DriverPhase, ObservedDriver
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi, FakeBackend
from support.operator_backend_cases import pod

SETTINGS = OperatorSettings()
READY = ObservedDriver(DriverPhase.READY, address="10.0.0.5")
OWNER = {"kind": "EvalRun", "name": "x", "uid": make_run().uid, "controller": True}
DRIVER = Create(
    JOBS, {"metadata": {"name": "x-a1-driver", "labels": run_labels(make_run().uid), "ownerReferences": [OWNER]}}
)


@dataclass
class Scene:
    backend: FakeBackend
    api: FakeApi = field(default_factory=FakeApi)
    progress: RunProgress | None = None
    now: datetime = NOON

    def __post_init__(self) -> None:
        async def ask(_: str) -> RunProgress | None:
            return self.progress

        observer = self.observer = Observer(self.api, self.backend, ask, lambda: self.now)  # type: ignore[arg-type]
        runs = ObservedRuns(SETTINGS.metrics)
        self.reconciler = Reconciler(self.api, self.backend, observer, SETTINGS, lambda: self.now, runs)  # type: ignore[arg-type]

    def having(self, *runs: Builder) -> Scene:
        for run in runs:
            manifest = run.manifest()
            manifest["metadata"]["resourceVersion"] = "1"
            self.api.objects["EvalRun", run.name] = manifest
        return self

    def look(self, name: str = "x", namespace: str = "team") -> float | None:
        return asyncio.run(self.reconciler.reconcile(Key(namespace, name)))

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
    runs = [make_run(f"x{number}") for number in range(int(LOOKS_PER_SECOND * SETTINGS.progress_seconds * 3))]
    scene = Scene(FakeBackend(READY)).having(*runs)
    assert scene.look("x0") == SETTINGS.progress_seconds
    assert [scene.look(run.name) for run in runs][-1] == pytest.approx(3 * SETTINGS.progress_seconds)
    done = replace(runs[1], status=EvalRunStatus(phase=Phase.FAILED, finished_at=NOON))
    scene.having(done).look(done.name)
    rest = scene.look("x0")
    assert rest is not None and rest < 3 * SETTINGS.progress_seconds, "a finished run is not among them"


def test_c12_noisy_neighbour() -> None:
    """Neither suspended nor working runs of one tenant delay the looks at another tenant's working run."""
    many = int(LOOKS_PER_SECOND * SETTINGS.progress_seconds * 2)
    mine = replace(make_run("mine"), namespace="team-b")
    for theirs in (
        [replace(make_run(f"idle-{number}"), namespace="team-a").suspended() for number in range(many)],
        [replace(make_run(f"busy-{number}"), namespace="team-a") for number in range(many)],
    ):
        scene = Scene(FakeBackend(READY)).having(mine, *theirs)
        waits = [scene.look(run.name, "team-a") for run in theirs]
        assert scene.look("mine", "team-b") == SETTINGS.progress_seconds <= 2.0, "at most 2 s between two looks"
        assert waits[-1] is not None and waits[-1] > SETTINGS.progress_seconds, "they share what is left"


def test_progress_alone_is_written_every_five_seconds() -> None:
    scene = Scene(FakeBackend(READY)).having(make_run("x"))
    for second, written in ((0, 1), (2, 1), (4, 1), (6, 2), (8, 2)):
        scene.now = NOON + timedelta(seconds=second)
        counts = Counts(planned=100, ok=10 + second)
        scene.progress = RunProgress(phase=Phase.RUNNING, counts=counts, replicas_ready=1)
        scene.look()
        assert sum(one.startswith("status") for one in scene.api.log) == written, f"after {second} s"
    scene.progress = RunProgress(phase=Phase.FINISHING, counts=Counts(planned=100, ok=100), replicas_ready=1)
    scene.look()
    assert scene.api.objects["EvalRun", "x"]["status"]["phase"] == "Finishing", "everything else is written at once"


class LivingApi(FakeApi):
    """A fake API server that returns what it creates with uid and version, and counts its calls."""

    async def create(
        self, kind: Kind, namespace: str, manifest: Mapping[str, Any], *, dry_run: bool = False
    ) -> dict[str, Any]:
        made = await super().create(kind, namespace, manifest, dry_run=dry_run)
        made["metadata"] = {**made["metadata"], "uid": f"u-{made['metadata']['name']}", "resourceVersion": "10"}
        self.objects[kind.kind, made["metadata"]["name"]] = made
        return made

    @property
    def calls(self) -> int:
        return len(self.read) + len(self.log)


def test_calls_of_a_run_from_its_creation_to_running() -> None:
    """Of 47 when each event of a child listed all of them: what is created is known, and news come with their event."""
    api = LivingApi()
    scene = Scene(JobsBackend(SETTINGS), api, RunProgress(phase=Phase.RUNNING, replicas_ready=2))  # type: ignore[arg-type]
    builder = make_run("x").with_replicas(2)
    scene.having(builder)
    key, version = Key("team", "x"), 10
    looks = 0

    def event(kind: Kind, manifest: dict[str, Any]) -> None:
        nonlocal version, looks
        version += 1
        manifest["metadata"] |= {"resourceVersion": str(version)}
        if scene.observer.learn(key, kind, manifest):
            looks += 1
            scene.look()

    scene.look()
    for component, pods in (("driver", 1), ("replica", 2)):
        of = api.objects["Job", f"x-a1-{component}" + ("s" if component == "replica" else "")]
        event(JOBS, of)
        event(JOBS, of | {"status": {"active": pods}})
        for index in range(pods):
            for phase, node, true in (("Pending", "", ()), ("Pending", "n", ()), ("Running", "n", ("Ready",))):
                one = pod(of, phase, node=node, index=index, true=true)
                one["metadata"]["labels"] = of["metadata"]["labels"]
                event(PODS, one)
    assert api.objects["EvalRun", "x"]["status"]["phase"] == "Running"
    assert [one for one in api.read if one.startswith("list")] == api.read[1:3], "Jobs and pods, once"
    assert looks <= 6, "a pod that is made or scheduled is no news of a driver"
    assert api.calls <= 0.6 * 47


def test_refused_child_is_reported_as_event_and_retried() -> None:
    scene = Scene(FakeBackend(writes=(DRIVER,))).having(make_run("x"))
    scene.api.failing("create", JOBS, Forbidden("create", "exceeded quota", status=403))
    with pytest.raises(ChildRefused):
        scene.look()
    (event,) = scene.api.events
    assert (event["type"], event["reason"]) == ("Warning", "ChildRefused")
    assert event["message"] == "the Job x-a1-driver was refused: exceeded quota"
