"""Pods that do not start: their run says why, in conditions, an event and the column that people see."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from evalrun_api import Condition, ConditionStatus, ConditionType, EvalRunStatus, Phase, Reason, RunProgress
from evalrun_operator.kube.errors import Forbidden, Unavailable
from evalrun_operator.kube.objects import EVENTS
from evalrun_operator.observe.explanations import AGAIN_AFTER, FIRST_AFTER, FORBIDDEN_AFTER, PER_SECOND, Explanations
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.plan.display import REASON_CHARACTERS
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.explanations import Explanation, ExplanationSource, Waiting
from evalrun_operator.state.observed import (
    Attempt,
    DriverPhase,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
)
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import backend, job, objects, pod

QUOTA = "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=0, limited: 4"


def started(count: int = 8) -> Builder:
    status = EvalRunStatus(phase=Phase.STARTING, attempt=1, charged_attempts=0, active_since=NOON)
    return make_run().with_replicas(count).with_status(status)


def decide(run: Builder, attempt: Attempt, progress: RunProgress | None = None) -> ReconcilePlan:
    observed = Observed(run.build(), {1: attempt}, progress, References())
    return plan(observed, OperatorSettings(), NOON)


def condition(status: EvalRunStatus, kind: ConditionType) -> Condition:
    return next(one for one in status.conditions if one.type == kind)


def column(status: EvalRunStatus) -> str | None:
    assert status.display is not None
    return status.display.reason


OBSTACLES = [Reason.PODS_REFUSED, Reason.VOLUME_NOT_MOUNTED, Reason.IMAGE_NOT_PULLED]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_driver_that_does_not_start_says_why(obstacle: Reason) -> None:
    decided = decide(started(), Attempt(ObservedDriver(DriverPhase.WAITING, obstacle=obstacle, detail=QUOTA)))
    complete = condition(decided.status, ConditionType.COMPLETE)
    assert (complete.status, complete.reason) == (ConditionStatus.FALSE, obstacle.value)
    assert QUOTA in complete.message
    assert condition(decided.status, ConditionType.REPLICAS_READY).reason == obstacle.value
    assert [(event.reason, event.warning) for event in decided.events] == [(obstacle.value, True)]
    assert column(decided.status) is not None and f"{obstacle}: exceeded quota: gpus" in str(column(decided.status))


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_replicas_that_do_not_start_say_why(obstacle: Reason) -> None:
    replicas = ObservedReplicas(8, active=2, running=2, obstacle=obstacle, detail=QUOTA)
    attempt = Attempt(ObservedDriver(DriverPhase.READY), replicas)
    decided = decide(started(), attempt, RunProgress(phase=Phase.STARTING, replicas_ready=1))
    ready = condition(decided.status, ConditionType.REPLICAS_READY)
    assert (ready.status, ready.reason) == (ConditionStatus.FALSE, obstacle.value)
    assert ready.message == f"{QUOTA}; 2 of 8 pods run, at least 8 are needed"
    assert condition(decided.status, ConditionType.COMPLETE).message == ready.message
    assert str(column(decided.status)).startswith(f"{obstacle}: exceeded quota: gpus")
    assert [(event.reason, event.warning) for event in decided.events] == [(obstacle.value, True)]


def test_enough_replicas_are_no_obstacle_but_the_message_names_it() -> None:
    replicas = ObservedReplicas(8, active=4, running=4, obstacle=Reason.PODS_REFUSED, detail=QUOTA)
    run = started().with_replicas(8, minCount=2)
    decided = decide(run, Attempt(ObservedDriver(DriverPhase.READY), replicas), answering(4))
    ready = condition(decided.status, ConditionType.REPLICAS_READY)
    assert (ready.status, ready.reason) == (ConditionStatus.TRUE, "Degraded")
    assert QUOTA in ready.message
    assert decided.status.phase is Phase.RUNNING
    assert column(decided.status) is None


def answering(ready: int) -> RunProgress:
    return RunProgress(phase=Phase.RUNNING, replicas_ready=ready)


def test_an_obstacle_is_reported_once() -> None:
    attempt = Attempt(ObservedDriver(DriverPhase.WAITING, obstacle=Reason.PODS_REFUSED, detail=QUOTA))
    first = decide(started(), attempt)
    again = decide(started().with_status(first.status), attempt)
    assert again.events == ()


@pytest.mark.parametrize(
    ("attempt", "shown"),
    [
        (
            {"driver": ObservedDriver(DriverPhase.STARTING)},
            "Preflight: store, model, tasks and engine arguments are being checked",
        ),
        (
            {"driver": ObservedDriver(DriverPhase.WAITING, detail="Unschedulable: 0/3 nodes")},
            "Preflight: waiting for the driver's pod: Unschedulable: 0/3 nodes",
        ),
    ],
)
def test_the_column_says_what_a_run_waits_for(attempt: dict[str, Any], shown: str) -> None:
    assert column(decide(started(), Attempt(**attempt)).status) == shown


def test_the_column_is_one_short_line() -> None:
    detail = "first line\nsecond line " + "x" * 500
    driver = ObservedDriver(DriverPhase.WAITING, obstacle=Reason.PODS_REFUSED, detail=detail)
    shown = str(column(decide(started(), Attempt(driver)).status))
    assert shown.startswith("PodsRefused: first line second line x")
    assert len(shown) == REASON_CHARACTERS and shown.endswith("…")


def test_the_column_is_empty_where_the_phase_says_it() -> None:
    replicas = ObservedReplicas(8, active=8, running=8)
    decided = decide(started(), Attempt(ObservedDriver(DriverPhase.READY), replicas), answering(8))
    assert column(decided.status) is None


# What Jobs and pods show, with the cluster's words ---------------------------------------------------------------

REFUSALS = {
    "ResourceQuota": (
        'Error creating: pods "nightly-a1-replicas-0-x7k2p" is forbidden: exceeded quota: gpus, requested: '
        "requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4",
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used:",
    ),
    "a quota of limits": (
        'Error creating: pods "nightly-a1-driver-x7k2p" is forbidden: failed quota: compute: must specify limits.cpu '
        "for: driver",
        "failed quota: compute: must specify limits.cpu for: driver",
    ),
    "LimitRange": (
        'Error creating: pods "nightly-a1-driver-abcde" is forbidden: maximum cpu usage per Container is 500m, but '
        "limit is 1",
        "maximum cpu usage per Container is 500m",
    ),
    "pod security": (
        'Error creating: pods "nightly-a1-driver-abcde" is forbidden: violates PodSecurity "restricted:latest": '
        "unrestricted capabilities",
        'violates PodSecurity "restricted:latest"',
    ),
    "OpenShift's SCC": (
        'Error creating: pods "nightly-a1-driver-" is forbidden: unable to validate against any security context '
        'constraint: [provider "anyuid": Forbidden: not usable by user or serviceaccount, provider restricted-v2: '
        ".spec.securityContext.fsGroup: Invalid value: []int64{1000}: 1000 is not an allowed group]",
        "unable to validate against any security context constraint: [provider",
    ),
    "a webhook": (
        'Error creating: admission webhook "validate.kyverno.svc-fail" denied the request: registry not allowed',
        'admission webhook "validate.kyverno.svc-fail" denied the request: registry not allowed',
    ),
    "a service account": (
        'Error creating: pods "nightly-a1-driver-" is forbidden: error looking up service account team/evals: '
        'serviceaccount "evals" not found',
        "error looking up service account team/evals",
    ),
    "a priority class": (
        'Error creating: pods "nightly-a1-driver-abcde" is forbidden: no PriorityClass with name hihg was found',
        "no PriorityClass with name hihg was found",
    ),
    "a runtime class": (
        '(combined from similar events): Error creating: pods "nightly-a1-replicas-0-abcde" is forbidden: pod '
        'rejected: RuntimeClass "nvdia" not found',
        'pod rejected: RuntimeClass "nvdia" not found',
    ),
}
LATER = NOON + timedelta(days=1)


def told(reason: str, message: str, at: datetime = LATER) -> Explanation:
    return Explanation(reason, message, at)


def seen(*manifests: Any, **explanations: Explanation) -> Attempt:
    """Return attempt 1 of these objects; ``explanations`` are of the Job or pod with this uid."""
    there = objects(*manifests)
    known = {uid.replace("_", "-"): one for uid, one in explanations.items()}
    return backend().attempts(type(there)(there.children, there.lost_nodes, known))[1]


@pytest.mark.parametrize("kind", REFUSALS)
def test_c06_a_refused_driver_speaks_in_the_api_servers_words(kind: str) -> None:
    message, words = REFUSALS[kind]
    of = job("driver", uid="d", status={"active": 0, "ready": 0, "terminating": 0, "startTime": "2026-01-01T12:00:00Z"})
    attempt = seen(of, d=told("FailedCreate", message))
    decided = decide(started(), attempt)
    complete = condition(decided.status, ConditionType.COMPLETE)
    assert complete.reason == "PodsRefused"
    assert words in complete.message
    assert str(column(decided.status)).startswith(f"PodsRefused: {words}"[:100])
    assert [event.reason for event in decided.events] == ["PodsRefused"]


@pytest.mark.parametrize("kind", REFUSALS)
def test_c06_refused_replicas_speak_in_the_api_servers_words(kind: str) -> None:
    message, words = REFUSALS[kind]
    driver = job("driver")
    replicas = job("replica", uid="r", spec={"parallelism": 8, "completions": 8}, status={"active": 0, "ready": 0})
    attempt = seen(driver, pod(driver, true=["Ready"]), replicas, r=told("FailedCreate", message))
    decided = decide(started(), attempt, RunProgress(phase=Phase.STARTING))
    ready = condition(decided.status, ConditionType.REPLICAS_READY)
    assert ready.reason == "PodsRefused" and ready.message.startswith(words)
    assert condition(decided.status, ConditionType.COMPLETE).reason == "PodsRefused"


def test_the_random_names_of_refused_pods_do_not_change_the_status() -> None:
    def status(name: str) -> EvalRunStatus:
        message = f'Error creating: pods "{name}" is forbidden: no PriorityClass with name hihg was found'
        return decide(started(), seen(job("driver", uid="d"), d=told("FailedCreate", message))).status

    assert status("nightly-a1-driver-abcde") == status("nightly-a1-driver-fghij")


def test_a_refusal_is_over_when_pods_were_created_since() -> None:
    replicas = job("replica", uid="r", spec={"parallelism": 2, "completions": 2})
    one = pod(replicas, index=0, created="2026-01-01T12:30:00Z")
    before = seen(replicas, one, r=told("FailedCreate", "exceeded quota", NOON)).replicas
    since = seen(replicas, one, r=told("FailedCreate", "exceeded quota", NOON + timedelta(minutes=30))).replicas
    assert before is not None and before.obstacle is None
    assert since is not None and since.obstacle is Reason.PODS_REFUSED
    complete = seen(replicas, one, pod(replicas, index=1), r=told("FailedCreate", "exceeded quota")).replicas
    assert complete is not None and complete.obstacle is None


VOLUMES = {
    "FailedMount": 'MountVolume.SetUp failed for volume "v2" : references non-existent secret key: root.pem',
    "FailedAttachVolume": 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other',
    "FailedMapVolume": 'MapVolume.SetUpDevice failed for volume "pvc-1"',
}


def creating(of: Any, **more: Any) -> Any:
    scheduled = [{"type": "PodScheduled", "status": "True"}]
    return pod(of, "Pending", waiting="ContainerCreating", conditions=scheduled, **more)


@pytest.mark.parametrize("reason", VOLUMES)
def test_c36_a_volume_that_is_not_mounted_speaks(reason: str) -> None:
    of = job("driver")
    decided = decide(started(), seen(of, creating(of, uid="p"), p=told(reason, VOLUMES[reason])))
    complete = condition(decided.status, ConditionType.COMPLETE)
    assert complete.reason == "VolumeNotMounted"
    assert VOLUMES[reason] in complete.message
    assert [event.reason for event in decided.events] == ["VolumeNotMounted"]


def test_c36_other_words_of_the_kubelet_are_repeated() -> None:
    of = job("driver")
    message = "Failed to create pod sandbox: no IP addresses available"
    driver = seen(of, creating(of, uid="p"), p=told("FailedCreatePodSandBox", message)).driver
    assert driver is not None and driver.obstacle is None
    assert driver.detail == f"FailedCreatePodSandBox: {message}"


def test_c36_containers_are_created_without_a_word_at_first() -> None:
    of = job("driver")
    driver = seen(of, creating(of)).driver
    assert driver is not None and (driver.obstacle, driver.detail) == (None, "")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"])
def test_an_image_that_is_not_pulled_speaks(reason: str) -> None:
    of = job("driver")
    decided = decide(started(), seen(of, pod(of, "Pending", waiting=reason, message="not found")))
    assert condition(decided.status, ConditionType.COMPLETE).reason == "ImageNotPulled"
    assert str(column(decided.status)).startswith(f"ImageNotPulled: {reason}: not found")


# What is asked ---------------------------------------------------------------------------------------------------


def waits(*manifests: Any) -> set[tuple[str, ExplanationSource]]:
    return {(one.uid, one.source) for one in backend().waiting(objects(*manifests))}


def test_only_what_waits_is_asked_about() -> None:
    driver, replicas = job("driver", uid="d"), job("replica", uid="r", spec={"parallelism": 2, "completions": 2})
    assert waits(driver, replicas) == {("d", ExplanationSource.JOB_EVENTS), ("r", ExplanationSource.JOB_EVENTS)}
    running = (pod(driver), pod(replicas, index=0), pod(replicas, index=1))
    assert waits(driver, replicas, *running) == set()
    stuck = creating(replicas, index=1, uid="p")
    assert waits(driver, replicas, pod(driver), pod(replicas, index=0), stuck) == {("p", ExplanationSource.POD_EVENTS)}
    unscheduled = pod(replicas, "Pending", index=1, node="")
    assert waits(driver, replicas, pod(driver), pod(replicas, index=0), unscheduled) == set()


@pytest.mark.parametrize(
    "over", [{"conditions": [("Complete", "x")]}, {"conditions": [("Failed", "x")]}, {"deleting": True}]
)
def test_jobs_that_are_over_wait_for_nothing(over: Any) -> None:
    assert waits(job("replica", **over)) == set()


def test_replicas_that_were_given_up_or_left_are_not_waited_for() -> None:
    spec = {"parallelism": 3, "completions": 3}
    of = job("replica", spec=spec, status={"failedIndexes": "1", "completedIndexes": "2"})
    assert waits(of, pod(of, index=0)) == set()


def test_suspended_jobs_are_asked_about_their_queue() -> None:
    assert waits(job("replica", uid="r", spec={"suspend": True})) == {("r", ExplanationSource.WORKLOAD)}


class Asking:
    """A reader of explanations with a clock that the test moves."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.now = NOON
        self.explanations = Explanations(self.api, lambda: self.now)  # type: ignore[arg-type]

    def after(self, passed: timedelta, *waiting: Waiting, run: str = "x") -> dict[str, Explanation]:
        self.now += passed
        return dict(asyncio.run(self.explanations.of(run, "team", waiting)))

    def questions(self) -> int:
        return len(self.api.read)


MISSING = Waiting("d", ExplanationSource.JOB_EVENTS)
FIELDS = "involvedObject.uid=d,reason=FailedCreate"
NOTHING = timedelta(0)


def event(message: str, at: datetime, **more: Any) -> dict[str, Any]:
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"reason": "FailedCreate", "message": message, "lastTimestamp": stamp, **more}


def test_pods_that_come_at_once_cost_no_question() -> None:
    asking = Asking()
    assert asking.after(NOTHING, MISSING) == {}
    assert asking.after(FIRST_AFTER / 2) == {}
    assert asking.after(FIRST_AFTER, MISSING) == {}
    assert asking.questions() == 0


def test_an_object_is_asked_about_now_and_then() -> None:
    asking = Asking()
    asking.api.some[FIELDS] = [event("exceeded quota", NOON)]
    asking.after(NOTHING, MISSING)
    assert asking.after(FIRST_AFTER, MISSING)["d"].message == "exceeded quota"
    for _ in range(5):
        assert asking.after(timedelta(seconds=1), MISSING)["d"].message == "exceeded quota"
    assert asking.questions() == 1
    assert asking.api.read == [f"some v1 Event team {FIELDS}"]
    asking.api.some[FIELDS] = []
    assert asking.after(AGAIN_AFTER, MISSING) == {}
    assert asking.questions() == 2


def test_the_newest_event_counts_and_an_old_one_does_not() -> None:
    asking = Asking()
    series = {"lastObservedTime": (NOON + timedelta(seconds=3)).isoformat().replace("+00:00", "Z")}
    asking.api.some[FIELDS] = [
        event("first", NOON - timedelta(minutes=2)),
        event("newest", NOON - timedelta(minutes=9), series=series),
        event("second", NOON - timedelta(minutes=1)),
        event("no time", NOON, lastTimestamp=None),
        event("odd", NOON, lastTimestamp="yesterday"),
    ]
    asking.after(NOTHING, MISSING)
    assert asking.after(FIRST_AFTER, MISSING)["d"].message == "newest"
    assert asking.after(timedelta(hours=1), MISSING) == {}


def test_very_many_runs_ask_only_so_often() -> None:
    asking = Asking()
    many = [Waiting(str(n), ExplanationSource.JOB_EVENTS) for n in range(100)]
    for one in many:
        asking.after(NOTHING, one, run=one.uid)
    asking.now += FIRST_AFTER
    for _ in range(20):
        for one in many:
            asking.after(timedelta(microseconds=500), one, run=one.uid)
    assert 0 < asking.questions() <= 1 + PER_SECOND


@pytest.mark.parametrize("error", [Unavailable("list", "no answer"), Forbidden("list", "no right", status=403)])
def test_a_question_without_an_answer_stops_nothing(error: Any) -> None:
    asking = Asking()
    asking.api.failing("list", EVENTS, error)
    asking.after(NOTHING, MISSING)
    assert asking.after(FIRST_AFTER, MISSING) == {}
    asking.api.errors.clear()
    asking.api.some[FIELDS] = [event("exceeded quota", NOON)]
    soon = asking.after(AGAIN_AFTER, MISSING)
    assert bool(soon) == isinstance(error, Unavailable), "a right that is missing is not asked for at once"
    assert asking.after(FORBIDDEN_AFTER, MISSING)["d"].message == "exceeded quota"
