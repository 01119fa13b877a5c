"""Runs in Kueue's queues: what their Jobs carry counts, waiting costs no pod and no time, and the queue speaks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import Condition, ConditionStatus, ConditionType, EvalRunStatus, Phase, Reason, RunProgress
from evalrun_api.wire.pods import FIRST_HEAD_SECONDS
from evalrun_operator.kube.errors import NotFound
from evalrun_operator.kube.objects import JOBS, Change, Create, Delete
from evalrun_operator.observe.explanations import FIRST_AFTER, Explanations
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import Desired
from evalrun_operator.state.explanations import Explanation, ExplanationSource, Waiting
from evalrun_operator.state.observed import Missing, Observed, References
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import backend, created, job, kueue, objects, pod

SETTINGS = OperatorSettings()
QUEUE = "kueue.x-k8s.io/queue-name"
PATIENCE = timedelta(seconds=SETTINGS.queued_driver_seconds)
SUSPENDED = {
    "type": "Suspended",
    "status": "True",
    "reason": "JobSuspended",
    "lastTransitionTime": "2026-01-01T12:00:00Z",
}


def queued_job(component: str, queue: str = "gpu-eval", **changes: Any) -> dict[str, Any]:
    """Build a Job as Kueue's webhook and the Job controller leave it: labelled, suspended since noon."""
    labels = {QUEUE: queue} if queue else {}
    spec = {"suspend": True} | changes.pop("spec", {})
    return job(component, labels=labels, spec=spec, status={"conditions": [SUSPENDED]}, **changes)


def ready_driver() -> tuple[dict[str, Any], dict[str, Any]]:
    of = job("driver")
    return of, pod(of, true=["Ready"])


def run_in(queue: str = "", **policy: Any) -> Builder:
    run = make_run().with_replicas(3).with_policy(**policy)
    return run.in_queue(queue) if queue else run


class Story:
    """A run whose status is carried from step to step."""

    def __init__(self, run: Builder) -> None:
        self.run = run

    def at(
        self, seconds: float, *manifests: Any, progress: RunProgress | None = None, **explanations: str
    ) -> ReconcilePlan:
        """Plan ``seconds`` after noon; ``explanations`` are Kueue's words about the Job of this uid."""
        there = self.objects(*manifests, **explanations)
        observed = Observed(self.run.build(), backend().attempts(there), progress, References())
        decided = plan(observed, SETTINGS, NOON + timedelta(seconds=seconds))
        self.run.with_status(decided.status)
        return decided

    def changes(self, decided: ReconcilePlan, *manifests: Any) -> tuple[Change, ...]:
        assert decided.desired is not None
        return backend().changes(self.run.build(), decided.desired, self.objects(*manifests), References())

    def objects(self, *manifests: Any, **explanations: str) -> Objects:
        there = objects(*manifests)
        known = {uid: Explanation("QuotaReserved", words) for uid, words in explanations.items()}
        return Objects(there.children, there.lost_nodes, known)


def condition(status: EvalRunStatus, kind: ConditionType) -> Condition:
    return next(one for one in status.conditions if one.type == kind)


def admitted(decided: ReconcilePlan) -> tuple[str, str]:
    one = condition(decided.status, ConditionType.ADMITTED)
    return one.status.value, one.reason


def test_c24_a_driver_in_the_default_queue_waits_outside_its_deadline() -> None:
    story = Story(run_in(activeDeadlineSeconds=600))
    held = queued_job("driver", "default", uid="d")
    for seconds in (10, 300, 600, 86400):
        decided = story.at(seconds, held, d="LocalQueue default is inactive")
        assert decided.status.phase is Phase.QUEUED
        assert admitted(decided) == ("False", "WaitingForAdmission")
        message = condition(decided.status, ConditionType.ADMITTED).message
        assert message == "queue default has not admitted the driver yet: LocalQueue default is inactive"
        assert decided.status.active_since is None and not decided.status.active_seconds
    assert decided.status.display is not None
    assert decided.status.display.reason == f"WaitingForAdmission: {message}"


def test_c24_an_admitted_driver_starts_its_clock() -> None:
    story = Story(run_in(activeDeadlineSeconds=600))
    story.at(500, queued_job("driver", "default"))
    decided = story.at(1000, job("driver", labels={QUEUE: "default"}))
    assert decided.status.phase is Phase.STARTING
    assert decided.status.active_since == NOON + timedelta(seconds=1000)


def test_default_queue_without_a_label_on_the_run_is_not_called_no_queue() -> None:
    of = job("driver", labels={QUEUE: "default"})
    replicas = queued_job("replica", "default", uid="r")
    decided = Story(run_in()).at(10, of, pod(of, true=["Ready"]), replicas, r="couldn't assign flavors")
    assert decided.status.phase is Phase.QUEUED
    assert admitted(decided) == ("False", "WaitingForAdmission")
    assert (
        "queue default has not admitted the replicas yet: couldn't"
        in condition(decided.status, ConditionType.ADMITTED).message
    )


def test_the_label_of_the_jobs_counts_and_not_the_runs() -> None:
    running = job("replica", labels={QUEUE: "other"})
    decided = Story(run_in("gpu-eval")).at(10, *ready_driver(), running, progress=RunProgress(phase=Phase.RUNNING))
    assert admitted(decided) == ("True", "Admitted")
    assert "queue other" in condition(decided.status, ConditionType.ADMITTED).message


def test_a_job_that_is_suspended_without_a_queue_says_so() -> None:
    held = queued_job("driver", "", uid="d")
    decided = Story(run_in()).at(10, held, d="Kueue has no Workload for it")
    assert decided.status.phase is Phase.QUEUED
    assert condition(decided.status, ConditionType.ADMITTED).message == (
        "the Job of the driver is suspended, and names no queue: Kueue has no Workload for it"
    )


# Drivers of queued runs ------------------------------------------------------------------------------------------


def test_c35_queued_runs_hold_no_driver_pods() -> None:
    story = Story(run_in("gpu-eval", activeDeadlineSeconds=600))
    driver, its_pod = ready_driver()
    waiting = queued_job("replica")
    soon = story.at(PATIENCE.seconds - 1, driver, its_pod, waiting)
    assert story.changes(soon, driver, its_pod, waiting) == ()
    late = story.at(PATIENCE.seconds, driver, its_pod, waiting)
    assert story.changes(late, driver, its_pod, waiting) == (
        Delete(JOBS, "nightly-a1-driver", driver["metadata"]["uid"]),
    )
    leaving = job("driver", deleting=True)
    assert story.changes(story.at(62, leaving, its_pod, waiting), leaving, its_pod, waiting) == ()
    away = story.at(86400, waiting)
    assert story.changes(away, waiting) == ()
    assert away.status.phase is Phase.QUEUED
    assert (away.status.attempt, away.status.charged_attempts, away.status.active_since) == (1, 0, None)
    assert not away.status.active_seconds


def test_c35_the_driver_is_made_again_on_admission_and_the_replicas_keep_their_place() -> None:
    story = Story(run_in("gpu-eval"))
    waiting = queued_job("replica")
    story.at(86400, waiting)
    running = job("replica", labels={QUEUE: "gpu-eval"})
    decided = story.at(86401, running)
    jobs = [one for one in story.changes(decided, running) if isinstance(one, Create) and one.kind is JOBS]
    assert [one.manifest["metadata"]["name"] for one in jobs] == ["nightly-a1-driver"]
    assert not [one for one in story.changes(decided, running) if isinstance(one, Delete)]
    assert (decided.status.phase, decided.status.attempt) == (Phase.STARTING, 1)
    assert admitted(decided) == ("True", "Admitted")
    assert decided.status.active_since == NOON + timedelta(seconds=86401)


def test_c35_preflight_comes_before_the_queue() -> None:
    story = Story(run_in("gpu-eval"))
    first = story.at(0)
    assert first.desired is not None
    assert (first.desired.driver, first.desired.replicas) == (Desired.RUNNING, Desired.UNCHANGED)
    passed = story.at(10, *ready_driver())
    assert passed.desired is not None and passed.desired.replicas is Desired.RUNNING
    assert passed.desired.queue == "gpu-eval"


def test_a_run_that_kueue_evicts_waits_again() -> None:
    story = Story(run_in("gpu-eval"))
    driver, its_pod = ready_driver()
    story.at(5, driver, its_pod, job("replica", labels={QUEUE: "gpu-eval"}), progress=RunProgress(phase=Phase.RUNNING))
    evicted = story.at(10, driver, its_pod, queued_job("replica"), progress=RunProgress(phase=Phase.RUNNING))
    assert evicted.status.phase is Phase.QUEUED
    assert evicted.status.active_since is None and evicted.status.active_seconds == 5


def test_missing_references_are_waited_for_before_the_driver_comes_back() -> None:
    run = run_in("gpu-eval").with_status(EvalRunStatus(phase=Phase.QUEUED, attempt=1))
    there = backend().attempts(objects(job("replica", labels={QUEUE: "gpu-eval"})))
    problem = Missing("spec.output.storage.credentialsSecretRef.name", Reason.NOT_FOUND, "gone")
    decided = plan(Observed(run.build(), there, None, References((problem,))), SETTINGS, NOON)
    assert decided.desired is None or decided.desired.driver is not Desired.RUNNING


@pytest.mark.parametrize("over", [{"conditions": [("Complete", "x")]}, {"deleting": True}])
def test_replicas_that_are_over_do_not_bring_a_driver_back(over: Any) -> None:
    decided = Story(run_in("gpu-eval")).at(10, job("replica", labels={QUEUE: "gpu-eval"}, **over))
    assert decided.status.attempt == 2


def test_a_deleted_driver_without_a_queue_is_followed_by_another_attempt() -> None:
    assert Story(run_in()).at(10, job("replica")).status.attempt == 2


def test_replicas_of_a_queue_wait_longer_for_their_first_driver() -> None:
    def environment(of: dict[str, Any]) -> dict[str, str]:
        variables = of["replica"]["spec"]["template"]["spec"]["containers"][0]["env"]
        return {one["name"]: one.get("value", "") for one in variables}

    assert environment(created(kueue()))["EVALRUN_FIRST_HEAD_SECONDS"] == str(FIRST_HEAD_SECONDS)
    assert "EVALRUN_FIRST_HEAD_SECONDS" not in environment(created(make_run().build()))


# MultiKueue ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["driver", "replica"])
def test_multikueue_is_refused_by_name(component: str) -> None:
    managed = queued_job(component, spec={"managedBy": "kueue.x-k8s.io/multikueue"})
    others = ready_driver() if component == "replica" else ()
    story = Story(run_in("gpu-eval"))
    decided = story.at(10, managed, *others)
    assert decided.status.phase is Phase.FAILED
    failed = condition(decided.status, ConditionType.FAILED)
    assert (failed.status, failed.reason) == (ConditionStatus.TRUE, "MultiKueueNotSupported")
    assert "MultiKueue is not supported: queue gpu-eval" in failed.message and "hint: " in failed.message
    deleted = {one.name for one in story.changes(decided, managed, *others) if isinstance(one, Delete)}
    assert managed["metadata"]["name"] in deleted


def test_kubernetes_own_controller_may_be_named() -> None:
    of = job("driver", spec={"managedBy": "kubernetes.io/job-controller"})
    assert Story(run_in()).at(10, of).status.phase is Phase.STARTING


# What Kueue says -------------------------------------------------------------------------------------------------


def workload(*conditions: tuple[str, str, str, str], active: bool = True, **status: Any) -> dict[str, Any]:
    """Build a Workload; conditions are type, status, reason and message."""
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"name": "job-nightly-a1-replicas-4c1f2", "labels": {"kueue.x-k8s.io/job-uid": "r"}},
        "spec": {"queueName": "gpu-eval", "active": active},
        "status": {
            "conditions": [
                {"type": kind, "status": value, "reason": reason, "message": message}
                for kind, value, reason, message in conditions
            ],
            **status,
        },
    }


QUOTA = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor h100"
SELECTOR = "kueue.x-k8s.io/job-uid=r"
SAYS = {
    "quota": (workload(("QuotaReserved", "False", "Pending", QUOTA)), QUOTA),
    "no such queue": (
        workload(("QuotaReserved", "False", "Inadmissible", "LocalQueue gpu-evla doesn't exist")),
        "LocalQueue gpu-evla doesn't exist",
    ),
    "deactivated": (
        workload(("Evicted", "True", "Deactivated", "The workload is deactivated"), active=False),
        "deactivated (spec.active is false): The workload is deactivated",
    ),
    "admission check": (
        workload(
            ("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue gpus"),
            admissionChecks=[{"name": "provisioning", "state": "Pending", "message": "Waiting for nodes"}],
        ),
        "admission check provisioning is Pending: Waiting for nodes",
    ),
    "not considered": (workload(), "Kueue has not considered its Workload yet"),
}


def asked(api: FakeApi, source: ExplanationSource = ExplanationSource.WORKLOAD) -> Explanation:
    now = NOON
    explanations = Explanations(api, lambda: now)  # type: ignore[arg-type]

    async def ask() -> Explanation:
        nonlocal now
        await explanations.of("x", "team", [Waiting("r", source)])
        now += FIRST_AFTER
        return (await explanations.of("x", "team", [Waiting("r", source)]))["r"]

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", SAYS)
def test_a_workload_says_why_it_waits(kind: str) -> None:
    found, words = SAYS[kind]
    api = FakeApi(some={SELECTOR: [workload(("Finished", "True", "Failed", "")), found]})
    told = asked(api)
    assert words in told.message
    decided = Story(run_in("gpu-eval")).at(10, *ready_driver(), queued_job("replica", uid="r"), r=told.message)
    assert words in condition(decided.status, ConditionType.ADMITTED).message


def test_a_queue_without_a_workload_says_so() -> None:
    assert "Kueue has no Workload for it, so nobody will admit it" in asked(FakeApi()).message


@pytest.mark.parametrize("status", [{"clusterName": "eu-1"}, {"nominatedClusterNames": ["eu-1", "eu-2"]}])
def test_a_workload_of_multikueue_is_known(status: dict[str, Any]) -> None:
    told = asked(FakeApi(some={SELECTOR: [workload(**status)]}))
    there = objects(queued_job("replica", uid="r"))
    seen = backend().attempts(Objects(there.children, there.lost_nodes, {"r": told}))[1].replicas
    assert seen is not None and seen.admission.elsewhere
    assert "eu-1" in seen.admission.message


class OldKueue(FakeApi):
    """An API server that lacks the newest versions of Workloads."""

    served: tuple[str, ...] = ("kueue.x-k8s.io/v1beta1",)

    async def list_some(self, kind: Any, namespace: str, **more: Any) -> list[dict[str, Any]]:
        if kind.api_version not in self.served:
            raise NotFound("list", "the server could not find the requested resource", status=404)
        return await super().list_some(kind, namespace, **more)


def test_an_older_kueue_is_asked_in_its_version() -> None:
    assert QUOTA in asked(OldKueue(some={SELECTOR: [SAYS["quota"][0]]})).message


def test_a_cluster_without_kueue_says_so() -> None:
    api = OldKueue()
    api.served = ()
    assert "this cluster has no Kueue" in asked(api).message
