"""Writes that lead to the desired state, and repairs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evalrun_operator.kube.objects import JOBS, PODS, Change, Create, Delete, Patch
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import Desired, DesiredState
from support.evalruns import make_run
from support.operator_backend_cases import FINALIZER, REFERENCES, backend, job, objects, pod, vllm_s3

RUN = make_run().with_replicas(3).build()
NOW = datetime(2026, 1, 1, 13, tzinfo=UTC)


def changes(desired: DesiredState, there: Objects | None = None) -> tuple[Change, ...]:
    return backend().changes(RUN, desired, there or Objects(), None)


def deleted(some: tuple[Change, ...]) -> set[str]:
    assert all(isinstance(change, Delete) for change in some)
    return {change.name for change in some if isinstance(change, Delete)}


# Made once --------------------------------------------------------------------------------------------------------


def test_existing_children_are_not_created_again() -> None:
    desired = DesiredState(1, Desired.RUNNING, Desired.RUNNING, count=3)
    assert changes(desired, objects(job(), job("replica"))) == ()


def test_unchanged_children_are_left_alone() -> None:
    assert changes(DesiredState(1)) == ()
    assert changes(DesiredState(1), objects(job(), job("replica", conditions=[("Failed", "x")]))) == ()


def test_failed_driver_is_not_created_again_in_its_attempt() -> None:
    assert changes(DesiredState(1, Desired.RUNNING), objects(job(conditions=[("Failed", "PodFailurePolicy")]))) == ()


def test_replicas_need_no_references() -> None:
    (made,) = backend().changes(
        vllm_s3(), DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=8), Objects(), None
    )
    assert isinstance(made, Create)
    assert made.manifest["metadata"]["name"] == "llama-step-4000-a1-replicas"


def test_all_pods_of_a_run_use_its_first_image() -> None:
    image = "runner@sha256:old"
    for desired in (
        DesiredState(2, Desired.RUNNING, image=image),
        DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, image=image, count=1),
    ):
        job = backend().changes(RUN, desired, Objects(), None)[-1]
        assert isinstance(job, Create)
        (container,) = job.manifest["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "runner@sha256:old"
        assert {"name": "EVALRUN_IMAGE", "value": "runner@sha256:old"} in container["env"]


def test_driver_is_not_created_without_its_baseline_run() -> None:
    with pytest.raises(KeyError, match="llama-step-3000"):
        backend().changes(vllm_s3(), DesiredState(1, Desired.RUNNING), Objects(), None)
    assert backend().changes(vllm_s3(), DesiredState(1, Desired.RUNNING), Objects(), REFERENCES)


# Grown and shrunk -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5])
def test_replicas_grow_and_shrink_in_both_numbers_at_once(count: int) -> None:
    there = job("replica")
    (patch,) = changes(DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=count), objects(there))
    size = {"parallelism": count, "completions": count}
    assert patch == Patch(JOBS, there["metadata"]["name"], there["metadata"]["uid"], {"spec": size})


@pytest.mark.parametrize(
    ("closed", "count", "size"),
    [("1", 3, 4), ("0-1", 3, 5), ("0,2", 1, 3), ("", 3, 3), ("7", 3, 3), ("x,-,1-,²", 3, 4), ("0-9", 3, 6)],
)
def test_replica_that_left_without_a_driver_is_replaced(closed: str, count: int, size: int) -> None:
    there = job("replica", status={"completedIndexes": closed})
    some = changes(DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=count), objects(there))
    assert [change.body for change in some if isinstance(change, Patch)] == (
        [{"spec": {"parallelism": size, "completions": size}}] if size != 3 else []
    )
    assert changes(DesiredState(1), objects(there)) == ()


def test_only_kueue_sets_the_size_of_a_queued_job() -> None:
    there = job("replica", labels={"kueue.x-k8s.io/queue-name": "q"})
    assert changes(DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=5), objects(there)) == ()


@pytest.mark.parametrize("condition", ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"])
def test_ended_replicas_job_is_deleted_and_created_again(condition: str) -> None:
    there = job("replica", conditions=[(condition, "x")])
    desired = DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=3)
    assert changes(desired, objects(there)) == (Delete(JOBS, there["metadata"]["name"], there["metadata"]["uid"]),)
    (made,) = changes(desired)
    assert isinstance(made, Create)


@pytest.mark.parametrize("desired", [Desired.RUNNING, Desired.ABSENT])
def test_terminating_children_are_awaited(desired: Desired) -> None:
    there = objects(job(deleting=True), job("replica", deleting=True, conditions=[("Failed", "x")]))
    assert changes(DesiredState(1, desired, desired, count=9), there) == ()


# Taken away -------------------------------------------------------------------------------------------------------


def test_absent_children_are_deleted_by_uid() -> None:
    there = (job(), job("replica"))
    assert changes(DesiredState(1, Desired.ABSENT, Desired.ABSENT), objects(*there)) == tuple(
        Delete(JOBS, each["metadata"]["name"], each["metadata"]["uid"]) for each in there
    )


def test_only_ended_drivers_of_earlier_attempts_stay() -> None:
    there = objects(
        job(attempt=1, conditions=[("Failed", "x")]),
        job("replica", 1),
        job(attempt=2),
        job("replica", 2, conditions=[("Failed", "x")]),
        job(attempt=3),
    )
    assert deleted(changes(DesiredState(3), there)) == {
        "nightly-a1-replicas",
        "nightly-a2-driver",
        "nightly-a2-replicas",
    }


def test_foreign_jobs_are_not_touched_whatever_their_labels() -> None:
    stranger, other_owner = job(attempt=1), job("replica", 1)
    stranger["metadata"]["ownerReferences"] = []
    other_owner["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    assert changes(DesiredState(2), objects(stranger, other_owner)) == ()


# Mended: lost nodes -----------------------------------------------------------------------------------------------


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def test_stuck_pod_on_a_lost_node_is_released_and_deleted() -> None:
    of = job("replica")
    stuck = pod(of, deleted=ago(61), finalizers=["mine", FINALIZER])
    name, uid = stuck["metadata"]["name"], stuck["metadata"]["uid"]
    assert backend().repairs(objects(of, stuck, lost=frozenset({"node-1"})), NOW) == (
        Patch(PODS, name, uid, {"metadata": {"resourceVersion": "7", "finalizers": ["mine"]}}),
        Delete(PODS, name, uid, grace_seconds=0),
    )


def test_interrupted_repair_continues() -> None:
    of = job()
    stuck = pod(of, deleted=ago(300), finalizers=[])
    (change,) = backend().repairs(objects(of, stuck, lost=frozenset({"node-1"})), NOW)
    assert isinstance(change, Delete)
    assert change.grace_seconds == 0


@pytest.mark.parametrize(
    ("lost", "changed"),
    [("node-1", {"deleted": ago(59)}), ("node-2", {"deleted": ago(600)}), ("node-1", {})],
    ids=["within its time", "its node lives", "not deleted"],
)
def test_pod_that_may_still_end_is_left_alone(lost: str, changed: dict[str, Any]) -> None:
    of = job("replica")
    repairs = backend().repairs(objects(of, pod(of, **changed), lost=frozenset({lost})), NOW)
    assert not any(isinstance(change, Delete) for change in repairs)


def test_stuck_pods_of_a_deleted_job_are_released_too() -> None:
    stuck = pod(job("replica"), deleted=ago(61))
    assert len(backend().repairs(objects(stuck, lost=frozenset({"node-1"})), NOW)) == 2


# Mended: back-off -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["driver", "replica"])
@pytest.mark.parametrize(
    "how",
    [
        {"phase": "Failed", "true": ["DisruptionTarget"], "exit_code": 137},
        {"phase": "Failed", "true": ["DisruptionTarget"], "exit_code": 143},
        {"phase": "Failed", "true": ["DisruptionTarget"]},
        {"phase": "Running", "deleted": ago(-50)},
    ],
    ids=["preempted", "drained", "gone with its node", "being deleted"],
)
def test_disruption_does_not_delay_the_replacement(component: str, how: dict[str, Any]) -> None:
    of = job(component)
    ended = pod(of, finalizers=["mine", FINALIZER], **how)
    (patch,) = backend().repairs(objects(of, ended), NOW)
    assert isinstance(patch, Patch)
    assert patch.name == ended["metadata"]["name"]
    assert patch.body == {"metadata": {"resourceVersion": "7", "finalizers": ["mine"]}}


@pytest.mark.parametrize("how", [{"deleted": ago(-50)}, {"deleted": ago(61)}], ids=["terminating", "on a lost node"])
def test_c13_finalizers_change_only_in_the_version_that_was_read(how: dict[str, Any]) -> None:
    of = job()
    there = objects(of, pod(of, version="4711", **how), lost=frozenset({"node-1"}))
    patch = backend().repairs(there, NOW)[0]
    assert isinstance(patch, Patch)
    assert patch.body["metadata"]["resourceVersion"] == "4711"


@pytest.mark.parametrize(
    "changed",
    [
        {"exit_code": 1},
        {"exit_code": 143},
        {"exit_code": 143, "true": ["DisruptionTarget"], "finalizers": []},
        {"exit_code": 143, "true": ["DisruptionTarget"], "index": 7},
        {"phase": "Succeeded", "exit_code": 0, "deleted": ago(-50)},
    ],
    ids=["it crashed", "its liveness probe failed", "done already", "not needed any more", "it has done its work"],
)
def test_other_pods_are_left_to_kubernetes_counting(changed: dict[str, Any]) -> None:
    of = job("replica")
    assert backend().repairs(objects(of, pod(of, **{"phase": "Failed", **changed})), NOW) == ()


@pytest.mark.parametrize(
    "changed", [{"spec": {"suspend": True}}, {"deleting": True}, {"conditions": [("Failed", "x")]}]
)
def test_job_without_new_pods_needs_no_repair(changed: dict[str, Any]) -> None:
    of = job("replica", **changed)
    ended = pod(of, "Failed", exit_code=143, true=["DisruptionTarget"])
    assert backend().repairs(objects(of, ended), NOW) == ()


@pytest.mark.parametrize("component", ["driver", "replica"])
def test_c09_pods_that_are_evicted_again_and_again_are_replaced_with_growing_delays(component: str) -> None:
    of = job(component)
    evicted = [pod(of, "Failed", name=f"p{number}", exit_code=137, true=["DisruptionTarget"]) for number in range(4)]
    assert len(backend().repairs(objects(of, *evicted[:3]), NOW)) == 3
    assert backend().repairs(objects(of, *evicted), NOW) == ()
    other = pod(of, "Failed", name="other", index=1, exit_code=137, true=["DisruptionTarget"])
    assert len(backend().repairs(objects(of, *evicted, other), NOW)) == (1 if component == "replica" else 0)


# Its deadline -----------------------------------------------------------------------------------------------------


def test_c10_a_raised_deadline_reaches_the_drivers_job() -> None:
    there = job(spec={"activeDeadlineSeconds": 3600})
    name, uid = there["metadata"]["name"], there["metadata"]["uid"]

    def patched(left: int | None, spent: int, of: dict[str, Any] = there) -> object:
        desired = DesiredState(1, Desired.UNCHANGED, seconds_left=left, seconds_spent=spent)
        bodies = [change.body["spec"]["activeDeadlineSeconds"] for change in changes(desired, objects(of))]  # type: ignore[union-attr]
        return bodies[0] if bodies else "not"

    assert patched(33000, 3000) == 36000, "raised"
    assert patched(1000, 3000) == 4000, "raised a little"
    assert patched(600, 3000) == "not", "as it was"
    assert patched(10, 1990) == 2000, "lowered"
    assert patched(None, 3000) is None, "removed"
    assert patched(3600, 0, job()) == 3600, "set for the first time"
    desired = DesiredState(1, Desired.UNCHANGED, seconds_left=33000, seconds_spent=3000)
    assert changes(desired, objects(there)) == (Patch(JOBS, name, uid, {"spec": {"activeDeadlineSeconds": 36000}}),)


def test_c10_a_job_gets_what_was_left_when_it_was_made() -> None:
    made = backend().changes(
        RUN, DesiredState(2, Desired.RUNNING, seconds_left=600, seconds_spent=3000), Objects(), None
    )
    driver = made[-1]
    assert isinstance(driver, Create)
    later = job(attempt=2, spec=dict(driver.manifest["spec"]))
    later["metadata"]["annotations"] = driver.manifest["metadata"]["annotations"]
    assert changes(DesiredState(2, seconds_left=100, seconds_spent=3500), objects(later)) == ()
    (patch,) = changes(DesiredState(2, seconds_left=3700, seconds_spent=3500), objects(later))
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"activeDeadlineSeconds": 4200}}


@pytest.mark.parametrize(
    "ended", [{"deleting": True}, {"conditions": [("Failed", "x")]}, {"conditions": [("Complete", "x")]}]
)
def test_deadline_of_an_ended_driver_stays(ended: dict[str, Any]) -> None:
    there = job(spec={"activeDeadlineSeconds": 3600}, **ended)
    assert changes(DesiredState(1, seconds_left=9000, seconds_spent=0), objects(there)) == ()


def test_upgrade_leaves_the_deadline_of_a_later_attempt_that_does_not_say_what_was_left() -> None:
    there = objects(job(attempt=2, spec={"activeDeadlineSeconds": 600}))
    assert changes(DesiredState(2, seconds_left=300, seconds_spent=3300), there) == ()
    (patch,) = changes(DesiredState(2, seconds_left=9000, seconds_spent=3300), there)
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"activeDeadlineSeconds": 12300}}
