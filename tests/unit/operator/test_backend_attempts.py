"""The observed state of an attempt, from its Jobs and pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalrun_api import Counts, Phase, Reason, RunResult
from evalrun_operator.backend.children import parse
from evalrun_operator.kube.objects import JOBS, PODS
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.children import Children
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.observed import DriverPhase, ObservedDriver, ObservedReplicas
from support.evalruns import make_run
from support.operator_backend_cases import LABELS, UID, backend, job, objects, pod

WORDS = RunResult(phase=Phase.SUCCEEDED, counts=Counts(planned=3, ok=3))
NEEDS_SECRET = {"waiting": "CreateContainerConfigError", "message": 'secret "x-ray" not found'}


def driver(*manifests: dict[str, Any]) -> ObservedDriver:
    found = backend().attempts(objects(*manifests))[1].driver
    assert found is not None
    return found


def replicas(*manifests: dict[str, Any]) -> ObservedReplicas:
    found = backend().attempts(objects(*manifests))[1].replicas
    assert found is not None
    return found


# How far the driver is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "phase"),
    [
        ([], DriverPhase.WAITING),
        ([("Pending", {})], DriverPhase.WAITING),
        ([("Pending", NEEDS_SECRET)], DriverPhase.WAITING),
        ([("Running", {})], DriverPhase.STARTING),
        ([("Running", {"true": ["Ready"]})], DriverPhase.READY),
        ([("Running", {"true": ["Ready"], "deleted": "2026-01-01T12:10:00Z"})], DriverPhase.WAITING),
        ([("Failed", {"exit_code": 143})], DriverPhase.WAITING),
        ([("Failed", {"exit_code": 1})], DriverPhase.WAITING),
        ([("Unknown", {"true": ["Ready"]})], DriverPhase.WAITING),
        ([("Succeeded", {"exit_code": 0})], DriverPhase.SUCCEEDED),
        ([("Running", {"exit_code": 0})], DriverPhase.SUCCEEDED),
    ],
)
def test_driver_phase_follows_its_pod(there: list[tuple[str, dict[str, Any]]], phase: DriverPhase) -> None:
    of = job()
    assert driver(of, *(pod(of, kind, **changes) for kind, changes in there)).phase is phase


@pytest.mark.parametrize(
    ("condition", "phase"),
    [
        ("Complete", DriverPhase.SUCCEEDED),
        ("SuccessCriteriaMet", DriverPhase.SUCCEEDED),
        ("Failed", DriverPhase.FAILED),
        ("FailureTarget", DriverPhase.FAILED),
    ],
)
def test_ended_job_decides_without_its_pods(condition: str, phase: DriverPhase) -> None:
    assert driver(job(conditions=[(condition, "x")])).phase is phase


def test_driver_being_deleted_is_leaving() -> None:
    of = job(deleting=True, conditions=[("Complete", "x")])
    assert driver(of, pod(of, true=["Ready"])).phase is DriverPhase.LEAVING


def test_driver_past_its_deadline_still_reports_its_result() -> None:
    failing = job(conditions=[("FailureTarget", "DeadlineExceeded")])
    assert driver(failing, pod(failing, deleted="2026-01-01T12:30:00Z")).phase is DriverPhase.WAITING
    stopped = WORDS.model_copy(update={"phase": Phase.SUSPENDED})
    end = driver(failing, pod(failing, "Failed", exit_code=143, message=stopped.to_json()))
    assert (end.phase, end.reason, end.result) == (DriverPhase.FAILED, Reason.DEADLINE_EXCEEDED, stopped)


def test_newest_of_several_pods_counts() -> None:
    of = job()
    old = pod(of, "Failed", name="old", exit_code=143, created="2026-01-01T12:00:00Z")
    new = pod(of, name="new", true=["Ready"], created="2026-01-01T12:05:00Z")
    seen = driver(of, new, old)
    assert (seen.phase, seen.address, seen.exit_code) == (DriverPhase.READY, "10.1.2.3", 143)


def test_terminating_pod_has_no_address() -> None:
    of = job()
    assert driver(of, pod(of, deleted="2026-01-01T12:10:00Z")).address is None
    assert driver(of, pod(of, "Pending")).address is None


# How it ended -----------------------------------------------------------------------------------------------------


def test_succeeded_driver_reports_the_result() -> None:
    of = job(conditions=[("Complete", "CompletionsReached")], status={"completionTime": "2026-01-01T12:31:00Z"})
    end = driver(of, pod(of, "Succeeded", exit_code=0, message=WORDS.fit().decode()))
    assert end == ObservedDriver(
        DriverPhase.SUCCEEDED, WORDS, exit_code=0, ended_at=datetime(2026, 1, 1, 12, 31, tzinfo=UTC)
    )


def test_last_pod_decides_unless_another_succeeded() -> None:
    failed = job(conditions=[("Failed", "PodFailurePolicy")])
    first = pod(failed, "Failed", name="first", exit_code=143, finished="2026-01-01T12:01:00Z")
    second = pod(failed, "Failed", name="second", exit_code=2, finished="2026-01-01T12:02:00Z")
    assert driver(failed, second, first).exit_code == 2
    done = job(conditions=[("Complete", "x")])
    good = pod(done, "Succeeded", name="good", exit_code=0, message=WORDS.to_json(), finished="2026-01-01T12:01:00Z")
    late = pod(done, "Failed", name="late", exit_code=143, finished="2026-01-01T12:05:00Z")
    assert driver(done, good, late).result == WORDS


@pytest.mark.parametrize("message", ["", "Traceback: boom", "{}", '{"phase": "Dancing"}', '{"phase":', "null", "[1]"])
def test_driver_without_a_result_shows_the_end_of_its_log(message: str) -> None:
    of = job(conditions=[("Failed", "BackoffLimitExceeded")])
    end = driver(of, pod(of, "Failed", exit_code=1, message=message))
    assert end.result is None
    assert end.detail == (f"exit code 1: {message}" if message else "exit code 1")


def test_long_log_is_cut_to_its_end() -> None:
    of = job(conditions=[("Failed", "BackoffLimitExceeded")])
    detail = driver(of, pod(of, "Failed", exit_code=1, message="x" * 4000 + "the reason")).detail
    assert detail.endswith("the reason")
    assert len(detail) < 700


def test_message_of_a_replaced_pod_is_not_a_result() -> None:
    of = job()
    old = pod(of, "Failed", name="old", exit_code=143, message=WORDS.to_json(), created="2026-01-01T11:00:00Z")
    assert driver(of, old, pod(of)).result is None


def test_oom_killed_driver_has_reason_out_of_memory() -> None:
    of = job(conditions=[("Failed", "BackoffLimitExceeded")])
    end = driver(of, pod(of, "Failed", exit_code=137, reason="OOMKilled"))
    assert (end.reason, end.exit_code) == (Reason.OUT_OF_MEMORY, 137)
    assert "memory" in end.detail


def test_driver_without_a_pod_is_described_by_its_job() -> None:
    end = driver(job(conditions=[("Failed", "BackoffLimitExceeded")]))
    assert (end.detail, end.exit_code) == ("Job said BackoffLimitExceeded", None)
    assert end.ended_at == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


# Why it waits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"waiting": "ContainerCreating"}, ""),
        ({"waiting": "ImagePullBackOff", "message": "no such image"}, "ImagePullBackOff: no such image"),
        (NEEDS_SECRET, 'CreateContainerConfigError: secret "x-ray" not found'),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available",
                    }
                ]
            },
            "Unschedulable: 0/3 nodes are available",
        ),
    ],
)
def test_detail_says_why_a_pod_does_not_start(changes: dict[str, Any], detail: str) -> None:
    of, many = job(), job("replica")
    assert driver(of, pod(of, "Pending", **changes)).detail == detail
    waiting = replicas(many, *(pod(many, "Pending", index=index, **changes) for index in range(2)))
    assert waiting.detail == (f"2 of 3 cannot start: {detail}" if detail else "")


def test_detail_says_that_a_driver_is_being_replaced() -> None:
    of = job()
    detail = driver(of, pod(of, "Failed", exit_code=143, true=["DisruptionTarget"])).detail
    assert detail.startswith("its pod is being replaced: disrupted")


def test_detail_says_that_a_queue_suspends_a_driver() -> None:
    of = job(spec={"suspend": True}, labels={"kueue.x-k8s.io/queue-name": "default"})
    assert driver(of).queued
    assert driver(of).admission.queue == "default"


# Replicas ---------------------------------------------------------------------------------------------------------


def test_replicas_are_counted_by_active_and_running_pods() -> None:
    of = job("replica")
    seen = replicas(
        of,
        pod(of, index=0, true=["Ready"]),
        pod(of, index=1),
        pod(of, "Pending", index=2),
        pod(of, index=3, true=["Ready"], deleted="2026-01-01T12:10:00Z"),
        pod(of, "Failed", index=4, exit_code=143),
    )
    assert (seen.count, seen.active, seen.running, seen.ended, seen.queued) == (3, 3, 1, False, False)


def test_completed_indexes_are_not_replicas() -> None:
    of = job("replica", status={"completedIndexes": "0"}, spec={"parallelism": 4, "completions": 4})
    assert replicas(of, pod(of, index=1)).count == 3


def test_suspended_replicas_are_queued() -> None:
    queue = {"kueue.x-k8s.io/queue-name": "q"}
    waiting = replicas(job("replica", labels=queue, spec={"suspend": True}))
    assert waiting.queued
    assert waiting.admission.queue == "q"
    assert not replicas(job("replica", labels=queue, spec={"suspend": False})).queued


@pytest.mark.parametrize("condition", ["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"])
def test_replicas_end_all_together(condition: str) -> None:
    assert replicas(job("replica", conditions=[(condition, "x")])).ended


def test_detail_says_what_the_last_replica_died_of_until_it_is_replaced() -> None:
    of = job("replica")
    dead = pod(of, "Failed", index=1, name="r-1", exit_code=1, message="CUDA error")
    assert replicas(of, pod(of, index=0), dead).detail == "r-1: exit code 1: CUDA error"
    assert replicas(of, pod(of, index=0), dead, pod(of, index=1)).detail == ""


def test_detail_names_replicas_that_are_not_replaced() -> None:
    of = job("replica", status={"failedIndexes": "1,3-5"})
    assert replicas(of).detail == "replicas that failed too often are not replaced: 1,3-5"


def test_attempts_are_separated_and_foreign_jobs_ignored() -> None:
    stranger = job(attempt=7)
    stranger["metadata"]["ownerReferences"] = []
    first, second = job(attempt=1, conditions=[("Failed", "x")]), job(attempt=2)
    seen = backend().attempts(objects(first, second, job("replica", 2), stranger, pod(second, true=["Ready"])))
    assert set(seen) == {1, 2}
    assert seen[1].replicas is None
    assert seen[2].replicas is not None
    assert seen[2].driver is not None
    assert seen[2].driver.phase is DriverPhase.READY


# Anything at all --------------------------------------------------------------------------------------------------

WORDS_OF_MANIFESTS = """
    metadata labels annotations ownerReferences spec status conditions containerStatuses name uid kind controller
    state terminated waiting running exitCode reason message phase type finishedAt creationTimestamp deletionTimestamp
    lastTransitionTime completionTime parallelism completions suspend nodeName podIP finalizers failedIndexes
    completedIndexes
    evalrun.dev/run evalrun.dev/attempt evalrun.dev/component kueue.x-k8s.io/queue-name
    batch.kubernetes.io/job-completion-index batch.kubernetes.io/job-index-failure-count
    batch.kubernetes.io/job-index-ignored-failure-count
"""
KEYS = st.sampled_from(WORDS_OF_MANIFESTS.split())
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["True", "Failed", "Running", "driver", "replica", "1", "-1", "²", "9" * 99, "2026-01-01", UID])
    | st.datetimes()
)
ANYTHING = st.recursive(
    LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=6), max_leaves=25
)
NOW = datetime(2026, 1, 1, 13, tzinfo=UTC)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def those(jobs: list[dict[str, Any]], pods: list[dict[str, Any]]) -> Objects:
    parsed = [*(parse(JOBS, one) for one in jobs), *(parse(PODS, one) for one in pods)]
    return Objects(Children.of_objects(parsed), frozenset({"node-1"}))


def survives(there: Objects) -> None:
    """Check that the backend gives an answer for these objects."""
    jobs = backend()
    there.children.nodes_of_stuck(NOW)
    jobs.attempts(there)
    jobs.repairs(there, NOW)
    for want in Desired:
        jobs.changes(make_run().build(), DesiredState(2, want, want, count=3), there, None)


@UNHURRIED
@given(st.lists(st.dictionaries(KEYS, ANYTHING), max_size=3), st.lists(st.dictionaries(KEYS, ANYTHING), max_size=3))
def test_arbitrary_children_do_not_raise(jobs: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
    survives(those(jobs, pods))


@UNHURRIED
@given(st.data())
def test_children_with_any_malformed_part_do_not_raise(data: st.DataObject) -> None:
    of = job(
        data.draw(st.sampled_from(["driver", "replica", "other"])),
        data.draw(st.text(max_size=5) | st.sampled_from(["1", "2", "01", "²", "1e3"])),
        conditions=[(data.draw(st.text(max_size=9) | st.just("Failed")), "x")],
    )
    one = pod(of, "Failed", exit_code=143, deleted="2026-01-01T12:00:00Z", message="x")
    for manifest in (of, one):
        part, place = data.draw(st.sampled_from(_places(manifest)))
        part[place] = data.draw(ANYTHING)
    survives(those([of], [one]))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Yield every place of a manifest: its container, and its key or position."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def test_invalid_labels_make_no_attempt() -> None:
    odd = [job(attempt=word) for word in ("0", "-1", "", "one", "²", "9" * 30)]
    assert backend().attempts(objects(*odd, job("cook"))) == {}
    assert LABELS["evalrun.dev/run"] == UID
