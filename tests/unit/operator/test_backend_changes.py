"""What is written so that what is wanted will be there, and what is mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evalrun_api import EvalRunStatus
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


def test_what_is_there_is_not_made_again() -> None:
    desired = DesiredState(1, Desired.RUNNING, Desired.RUNNING, count=3)
    assert changes(desired, objects(job(), job("replica"))) == ()


def test_what_is_kept_is_left_alone_there_or_not() -> None:
    assert changes(DesiredState(1)) == ()
    assert changes(DesiredState(1), objects(job(), job("replica", conditions=[("Failed", "x")]))) == ()


def test_a_driver_that_failed_is_not_made_again_under_its_number() -> None:
    assert changes(DesiredState(1, Desired.RUNNING), objects(job(conditions=[("Failed", "PodFailurePolicy")]))) == ()


def test_replicas_need_no_other_run_to_be_looked_up() -> None:
    (made,) = backend().changes(
        vllm_s3(), DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=8), Objects(), None
    )
    assert isinstance(made, Create)
    assert made.manifest["metadata"]["name"] == "llama-step-4000-a1-replicas"


def test_all_pods_of_a_run_are_of_the_image_that_it_began_with() -> None:
    begun = make_run().with_status(EvalRunStatus(attempt=1, runner_image="runner@sha256:old")).build()
    for desired in (DesiredState(2, Desired.RUNNING), DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=1)):
        job = backend().changes(begun, desired, Objects(), None)[-1]
        assert isinstance(job, Create)
        (container,) = job.manifest["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "runner@sha256:old"
        assert {"name": "EVALRUN_IMAGE", "value": "runner@sha256:old"} in container["env"]


def test_a_driver_is_never_made_without_a_run_that_it_compares_with() -> None:
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
def test_a_replica_that_found_no_driver_and_left_has_another_in_its_stead(closed: str, count: int, size: int) -> None:
    there = job("replica", status={"completedIndexes": closed})
    some = changes(DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=count), objects(there))
    assert [change.body for change in some if isinstance(change, Patch)] == (
        [{"spec": {"parallelism": size, "completions": size}}] if size != 3 else []
    )
    assert changes(DesiredState(1), objects(there)) == ()


def test_kueue_alone_sets_the_size_of_what_it_queues() -> None:
    there = job("replica", labels={"kueue.x-k8s.io/queue-name": "q"})
    assert changes(DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=5), objects(there)) == ()


@pytest.mark.parametrize("condition", ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"])
def test_replicas_that_ended_too_early_make_room_and_are_made_anew(condition: str) -> None:
    there = job("replica", conditions=[(condition, "x")])
    desired = DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=3)
    assert changes(desired, objects(there)) == (Delete(JOBS, there["metadata"]["name"], there["metadata"]["uid"]),)
    (made,) = changes(desired)
    assert isinstance(made, Create)


@pytest.mark.parametrize("desired", [Desired.RUNNING, Desired.ABSENT])
def test_what_is_being_deleted_is_waited_for(desired: Desired) -> None:
    there = objects(job(deleting=True), job("replica", deleting=True, conditions=[("Failed", "x")]))
    assert changes(DesiredState(1, desired, desired, count=9), there) == ()


# Taken away -------------------------------------------------------------------------------------------------------


def test_what_has_to_be_gone_is_deleted_by_its_uid() -> None:
    there = (job(), job("replica"))
    assert changes(DesiredState(1, Desired.ABSENT, Desired.ABSENT), objects(*there)) == tuple(
        Delete(JOBS, each["metadata"]["name"], each["metadata"]["uid"]) for each in there
    )


def test_of_former_attempts_only_drivers_that_ended_stay() -> None:
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


def test_jobs_of_strangers_are_not_touched_whatever_their_labels_say() -> None:
    stranger, other_owner = job(attempt=1), job("replica", 1)
    stranger["metadata"]["ownerReferences"] = []
    other_owner["metadata"]["ownerReferences"][0]["uid"] = "somebody"
    assert changes(DesiredState(2), objects(stranger, other_owner)) == ()


# Mended: lost nodes -----------------------------------------------------------------------------------------------


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def test_a_pod_that_its_lost_node_will_never_end_is_freed_of_its_job_and_deleted() -> None:
    of = job("replica")
    stuck = pod(of, deleted=ago(61), finalizers=["mine", FINALIZER])
    name, uid = stuck["metadata"]["name"], stuck["metadata"]["uid"]
    assert backend().repairs(objects(of, stuck, lost=frozenset({"node-1"})), NOW) == (
        Patch(PODS, name, uid, {"metadata": {"finalizers": ["mine"]}}),
        Delete(PODS, name, uid, grace_seconds=0),
    )


def test_a_repair_that_was_cut_short_goes_on() -> None:
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
def test_a_pod_that_may_still_end_by_itself_is_left_alone(lost: str, changed: dict[str, Any]) -> None:
    of = job("replica")
    repairs = backend().repairs(objects(of, pod(of, **changed), lost=frozenset({lost})), NOW)
    assert not any(isinstance(change, Delete) for change in repairs)


def test_pods_of_a_job_that_is_gone_are_freed_as_well() -> None:
    stuck = pod(job("replica"), deleted=ago(61))
    assert len(backend().repairs(objects(stuck, lost=frozenset({"node-1"})), NOW)) == 2


# Mended: back-off -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["driver", "replica"])
@pytest.mark.parametrize(
    "how",
    [
        {"phase": "Failed", "true": ["DisruptionTarget"], "exit_code": 137},
        {"phase": "Failed", "exit_code": 143},
        {"phase": "Failed", "true": ["DisruptionTarget"]},
        {"phase": "Running", "deleted": ago(-50)},
    ],
    ids=["preempted", "drained", "gone with its node", "being deleted"],
)
def test_a_disruption_is_not_held_against_the_next_pod(component: str, how: dict[str, Any]) -> None:
    of = job(component)
    ended = pod(of, finalizers=["mine", FINALIZER], **how)
    (patch,) = backend().repairs(objects(of, ended), NOW)
    assert isinstance(patch, Patch)
    assert patch.name == ended["metadata"]["name"]
    assert patch.body == {"metadata": {"finalizers": ["mine"]}}


@pytest.mark.parametrize(
    "changed",
    [
        {"exit_code": 1},
        {"exit_code": 143, "finalizers": []},
        {"exit_code": 143, "index": 7},
        {"phase": "Succeeded", "exit_code": 0, "deleted": ago(-50)},
    ],
    ids=["it crashed", "done already", "not needed any more", "it has done its work"],
)
def test_other_pods_are_counted_as_kubernetes_does(changed: dict[str, Any]) -> None:
    of = job("replica")
    assert backend().repairs(objects(of, pod(of, **{"phase": "Failed", **changed})), NOW) == ()


@pytest.mark.parametrize(
    "changed", [{"spec": {"suspend": True}}, {"deleting": True}, {"conditions": [("Failed", "x")]}]
)
def test_a_job_that_makes_no_pods_needs_no_mending(changed: dict[str, Any]) -> None:
    of = job("replica", **changed)
    ended = pod(of, "Failed", exit_code=143)
    assert backend().repairs(objects(of, ended), NOW) == ()
