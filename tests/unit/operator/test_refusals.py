"""Writes that are refused: the status is written all the same, and what can be done is done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from evalrun_api import Counts, EvalRunStatus, Phase, RunProgress, RunResult
from evalrun_operator.kube.errors import (
    ApiError,
    ChildRefused,
    Conflict,
    Forbidden,
    Invalid,
    OperatorError,
    TooManyRequests,
    Unavailable,
)
from evalrun_operator.kube.objects import CONFIG_MAPS, JOBS, PODS, SERVICES
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import Reconciler
from evalrun_operator.settings import OperatorSettings
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import backend, job, pod

SETTINGS = OperatorSettings()
QUOTA = "exceeded quota: team, requested: count/jobs.batch=1, used: 10, limited: 10"
WORKING = RunProgress(phase=Phase.RUNNING, counts=Counts(planned=100, ok=90), replicas_ready=3)


def refusals() -> list[ApiError]:
    return [
        Forbidden("create", QUOTA, status=403),
        Invalid("create", QUOTA, status=422),
        Unavailable("create", f'failed calling webhook "x.example.com": {QUOTA}', status=500),
        Unavailable("create", QUOTA, status=401),
        TooManyRequests("create", QUOTA, status=429),
        Conflict("create", QUOTA, status=409),
        Unavailable("create", QUOTA),
    ]


@dataclass
class Scene:
    """A run with the Jobs backend behind an API server of dictionaries."""

    run: Builder
    api: FakeApi = field(default_factory=FakeApi)
    progress: RunProgress | None = None
    now: datetime = NOON
    raised: OperatorError | None = None

    def __post_init__(self) -> None:
        manifest = self.run.manifest()
        manifest["metadata"]["resourceVersion"] = "7"
        self.api.objects["EvalRun", self.run.name] = manifest

    def ready(self) -> Scene:
        """Have attempt 1 work: a ready driver, and three replicas."""
        driver, replicas = job("driver"), job("replica")
        first = pod(driver, true=("Ready",))
        for kind, each in (("Job", driver), ("Job", replicas), ("Pod", first)):
            self.api.objects[kind, each["metadata"]["name"]] = each
        self.progress = WORKING
        return self

    def look(self) -> dict[str, Any]:
        """Reconcile once; return the status that the API server has then."""

        async def ask(_: str) -> RunProgress | None:
            return self.progress

        observer = Observer(self.api, backend(), ask, lambda: self.now)  # type: ignore[arg-type]
        reconciler = Reconciler(
            self.api,  # type: ignore[arg-type]
            backend(),
            observer,
            SETTINGS,
            lambda: self.now,
            ObservedRuns(SETTINGS.metrics),
        )
        self.raised = None
        try:
            asyncio.run(reconciler.reconcile(Key("team", self.run.name)))
        except OperatorError as error:
            self.raised = error
        status: dict[str, Any] = self.api.objects["EvalRun", self.run.name].get("status") or {}
        return status


def said(status: dict[str, Any], kind: str) -> tuple[str, str, str]:
    found = next(one for one in status["conditions"] if one["type"] == kind)
    return found["status"], found["reason"], found.get("message", "")


def started(run: Builder, **fields: Any) -> Builder:
    return run.with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=1, started_at=NOON, **fields))


@pytest.mark.parametrize("kind", [JOBS, CONFIG_MAPS, SERVICES])
@pytest.mark.parametrize("error", refusals(), ids=str)
def test_c23_new_run_whose_child_is_refused_says_so(error: ApiError, kind: Any) -> None:
    scene = Scene(make_run().with_replicas(3))
    scene.api.failing("create", kind, error)
    for seconds in (0, 60, 120):
        scene.now = NOON + timedelta(seconds=seconds)
        status = scene.look()
        assert scene.raised is not None, "the queue tries again"
        assert status["phase"] == "Pending"
        for condition in ("Complete", "ReplicasReady", "Reconciling"):
            assert said(status, condition)[1] == "ChildRefused" and QUOTA in said(status, condition)[2]
        assert status.get("attempt") is None, "no attempt exists, so none is counted"
        assert "activeSince" not in status, "and no time of running"
    refused = [event for event in scene.api.events if event["reason"] == "ChildRefused"]
    assert len(refused) == isinstance(scene.raised, ChildRefused), "said once"
    scene.api.errors.clear()
    status = scene.look()
    assert (status["phase"], status["attempt"], scene.raised) == ("Starting", 1, None)


@pytest.mark.parametrize("error", refusals(), ids=str)
def test_refused_later_attempt_is_neither_counted_nor_charged_twice(error: ApiError) -> None:
    scene = Scene(started(make_run().with_replicas(3), charged_attempts=0))
    failed = job("driver", conditions=[("Failed", "BackoffLimitExceeded")])
    scene.api.objects["Job", "nightly-a1-driver"] = failed
    scene.api.failing("create", JOBS, error)
    for _ in range(3):
        status = scene.look()
        assert (status["attempt"], status["chargedAttempts"]) == (1, 0)
    scene.api.errors.clear()
    status = scene.look()
    assert (status["attempt"], status["chargedAttempts"]) == (2, 1)


@pytest.mark.parametrize("error", refusals(), ids=str)
def test_c23_progress_is_written_while_a_resize_is_refused(error: ApiError) -> None:
    scene = Scene(started(make_run().with_replicas(5))).ready()
    scene.api.failing("patch", JOBS, error)
    status = scene.look()
    assert status["progress"]["ok"] == 90 and status["phase"] == "Running" and status["attempt"] == 1
    assert QUOTA in said(status, "Reconciling")[2] and said(status, "Reconciling")[1] == "Running"
    assert scene.raised is not None
    assert [event["reason"] for event in scene.api.events].count("ChildRefused") == isinstance(
        scene.raised, ChildRefused
    )


@pytest.mark.parametrize("verb", ["patch", "delete"])
@pytest.mark.parametrize("error", refusals(), ids=str)
def test_c23_suspension_and_deadline_are_acted_upon_whatever_is_refused(error: ApiError, verb: str) -> None:
    gone = isinstance(error, Conflict)  # another object has the name by now, or the pod is newer than what was read
    suspended = Scene(started(make_run().with_replicas(3).suspended(), active_since=NOON)).ready()
    late = Scene(started(make_run().with_policy(activeDeadlineSeconds=60), active_since=NOON)).ready()
    for scene, phase in ((suspended, "Suspended"), (late, "Failed")):
        scene.now = NOON + timedelta(hours=1)
        # A pod whose finalizer is in the way of its replacement is patched first.
        waits = pod(job("replica"), deleted="2026-01-01T12:59:59Z", index=1)
        scene.api.objects["Pod", waits["metadata"]["name"]] = waits
        scene.api.failing(verb, PODS if verb == "patch" else JOBS, error)
        assert scene.look()["phase"] == phase
        assert (scene.raised is None) == gone
        if verb == "patch" and error.status not in (0, 429):
            deleted = {one.split()[2] for one in scene.api.log if one.startswith("delete Job")}
            assert deleted == {"nightly-a1-driver", "nightly-a1-replicas"}
    assert (QUOTA in said(suspended.look(), "Suspended")[2]) != gone


@pytest.mark.parametrize("error", refusals(), ids=str)
def test_c23_the_end_is_written_whatever_is_refused(error: ApiError) -> None:
    result = RunResult(phase=Phase.SUCCEEDED, counts=Counts(planned=9, ok=9), results_uri="s3://evals/x/")
    scene = Scene(started(make_run().with_replicas(3))).ready()
    driver = scene.api.objects["Job", "nightly-a1-driver"]
    ended = pod(driver, "Succeeded", exit_code=0, message=result.to_json())
    scene.api.objects["Pod", ended["metadata"]["name"]] = ended
    stuck = pod(job("replica"), deleted="2026-01-01T11:59:59Z", index=1)
    scene.api.objects["Pod", stuck["metadata"]["name"]] = stuck
    scene.api.failing("patch", PODS, error)
    status = scene.look()
    assert status["phase"] == "Succeeded" and status["progress"]["ok"] == 9
    assert said(status, "Complete")[:2] == ("True", "Succeeded")
    assert (scene.raised is None) == isinstance(error, Conflict), "a newer pod brings the run back"


def test_server_that_does_not_answer_is_not_asked_for_the_rest() -> None:
    scene = Scene(started(make_run().with_replicas(3).suspended())).ready()
    scene.api.failing("delete", JOBS, Unavailable("delete", "no answer in 30 s"))
    calls: list[str] = []
    delete = scene.api.delete

    async def counted(*arguments: Any) -> None:
        calls.append("delete")
        await delete(*arguments)

    scene.api.delete = counted  # type: ignore[method-assign, assignment]
    scene.look()
    assert calls == ["delete"]
