"""Writes, their order, and the handling of refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evalrun_api import EvalRunStatus, Phase
from evalrun_operator import names
from evalrun_operator.apply import apply
from evalrun_operator.kube.errors import (
    ApiError,
    ChildRefused,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OperatorError,
    TooManyRequests,
)
from evalrun_operator.kube.objects import (
    CONFIG_MAPS,
    EVALRUNS,
    EVENTS,
    JOBS,
    PODS,
    SECRETS,
    Change,
    Create,
    Delete,
    Event,
    Kind,
    Patch,
)
from evalrun_operator.plan import ReconcilePlan
from support.evalruns import NOON, make_run
from support.fake_api import FakeApi, conflict

RUN = make_run("x").with_status(EvalRunStatus(phase=Phase.STARTING)).build()
RUN = RUN.model_copy(update={"metadata": RUN.metadata.model_copy(update={"resource_version": "7"})})
RUNNING = EvalRunStatus(phase=Phase.RUNNING)
UID = RUN.metadata.uid or ""
TELL = (Event("Running", "items are being answered"),)


def manifest(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def do(api: FakeApi, *changes: Change, plan: ReconcilePlan | None = None) -> list[str]:
    asyncio.run(apply(api, RUN, changes, plan or ReconcilePlan(None, RUNNING, TELL), NOON))  # type: ignore[arg-type]
    return api.log


def test_children_are_written_first_then_status_then_events() -> None:
    changes = (
        Create(CONFIG_MAPS, manifest("config")),
        Create(JOBS, manifest("driver")),
        Patch(JOBS, "replicas", "u-3", {"spec": {}}),
        Delete(PODS, "stuck", "u-4", grace_seconds=0),
    )
    assert do(FakeApi(), *changes) == [
        "create ConfigMap config",
        "create Job driver",
        "patch Job replicas",
        "delete Pod stuck u-4 0",
        "status Running at 7",
        "event Running",
    ]


def test_unchanged_status_is_not_written() -> None:
    assert do(FakeApi(), plan=ReconcilePlan(None, EvalRunStatus(phase=Phase.STARTING))) == []


def test_status_conflict_is_retried_without_events() -> None:
    api = FakeApi().failing("apply", EVALRUNS, conflict())
    with pytest.raises(Conflict):
        do(api, Create(JOBS, manifest("driver")))
    assert api.log == ["create Job driver"]


def test_expired_run_is_deleted_without_a_status() -> None:
    assert do(FakeApi(), plan=ReconcilePlan(None, RUNNING, delete_run=True)) == [f"delete EvalRun x {UID} None"]


def child(kind: Kind, uid: str, *, owner: str | None = "x", **metadata: Any) -> FakeApi:
    """Return an API server with a child of the EvalRun of this uid; ``owner`` is its name, None for an orphan."""
    references = [{"kind": "EvalRun", "name": owner, "uid": uid, "controller": True}] if owner else []
    whole = {"labels": names.run_labels(uid), "ownerReferences": references, **metadata}
    return FakeApi().having(kind, "driver", metadata=whole)


def test_existing_child_is_left_alone() -> None:
    assert do(child(JOBS, UID), Create(JOBS, manifest("driver"))) == ["status Running at 7", "event Running"]


def test_terminating_child_is_awaited() -> None:
    with pytest.raises(Conflict, match="being deleted"):
        do(child(JOBS, UID, deletionTimestamp="2026-01-01T12:00:00Z"), Create(JOBS, manifest("driver")))


def test_child_of_an_earlier_run_of_the_same_name_is_awaited() -> None:
    with pytest.raises(Conflict, match=r"earlier EvalRun of this name .uid another. and will be garbage-collected"):
        do(child(JOBS, "another"), Create(JOBS, manifest("driver")))


@pytest.mark.parametrize("uid", ["the-old-uid", UID], ids=["of an earlier run", "restored with the labels of this one"])
def test_c07_orphans_are_told_apart_by_their_owners_and_named(uid: str) -> None:
    for _ in range(3):
        with pytest.raises(ChildRefused) as refused:
            do(child(JOBS, uid, owner=None), Create(JOBS, manifest("driver")))
        message = str(refused.value)
        assert f"Job driver was left by an earlier EvalRun (uid {uid})" in message
        assert "hint: kubectl delete job driver -n team" in message


def test_c07_children_of_another_run_are_no_orphans() -> None:
    with pytest.raises(ChildRefused, match=r"Job driver belongs to EvalRun y, not to this run"):
        do(child(JOBS, "another", owner="y"), Create(JOBS, manifest("driver")))


def test_c07_labels_do_not_make_a_foreign_object_a_child() -> None:
    foreign = [{"kind": "CronJob", "name": "nightly", "uid": UID, "controller": True}]
    with pytest.raises(ChildRefused, match="belongs to CronJob nightly"):
        do(child(JOBS, UID, ownerReferences=foreign), Create(JOBS, manifest("driver")))


def test_foreign_object_with_a_childs_name_is_refused() -> None:
    with pytest.raises(
        ChildRefused, match="does not belong to this run; hint: delete it, or give the run another name"
    ):
        do(FakeApi().having(JOBS, "driver"), Create(JOBS, manifest("driver")))


def test_creating_the_secret_needs_no_permission_to_read_secrets() -> None:
    api = child(SECRETS, UID).failing("metadata", SECRETS, Forbidden("get", "no", status=403))
    assert do(api, Create(SECRETS, manifest("driver"))) == ["status Running at 7", "event Running"]


def test_child_deleted_meanwhile_is_created_at_the_next_reconcile() -> None:
    api = child(JOBS, UID).failing("metadata", JOBS, NotFound("get", "gone", status=404))
    with pytest.raises(Conflict, match="retrying"):
        do(api, Create(JOBS, manifest("driver")))


@pytest.mark.parametrize("error", [Invalid("create", "spec.template: too bad"), Forbidden("create", "exceeded quota")])
def test_refused_child_is_reported_and_nothing_is_created_after_it(error: Invalid | Forbidden) -> None:
    api = FakeApi().failing("create", CONFIG_MAPS, error)
    changes = (
        Create(SECRETS, manifest("token")),
        Create(CONFIG_MAPS, manifest("config")),
        Create(JOBS, manifest("driver")),
        Delete(JOBS, "former", "u-1"),
    )
    with pytest.raises(ChildRefused, match=f"the ConfigMap config was refused: {error.message}"):
        do(api, *changes)
    assert api.log == [
        "create Secret token",
        "delete Job former u-1 None",
        "status Running at 7",
        "event Running",
        "event ChildRefused",
    ]


@pytest.mark.parametrize("error", [Forbidden("delete", "no"), TooManyRequests("delete", "busy")])
def test_no_attempt_is_created_beside_a_job_that_could_not_be_deleted(error: ApiError) -> None:
    api = FakeApi().failing("delete", JOBS, error)
    changes = (
        Delete(JOBS, "former", "u-1"),
        Delete(CONFIG_MAPS, "former", None),
        Create(JOBS, manifest("driver")),
    )
    with pytest.raises(OperatorError):
        do(api, *changes)
    assert "create Job driver" not in api.log


@pytest.mark.parametrize("error", [NotFound("x", "gone"), Conflict("x", "another uid")])
def test_deleting_a_deleted_object_succeeds(error: NotFound | Conflict) -> None:
    api = FakeApi().failing("delete", JOBS, error)
    assert do(api, Delete(JOBS, "driver", "u-1")) == ["status Running at 7", "event Running"]


@pytest.mark.parametrize("error", [NotFound("x", "gone"), Conflict("x", "another uid, or another version")])
def test_object_that_changed_meanwhile_is_not_patched_and_holds_nothing_up(error: NotFound | Conflict) -> None:
    api = FakeApi().failing("patch", PODS, error)
    changes = (Patch(PODS, "gone", "u-1", {"metadata": {"resourceVersion": "1"}}), Create(JOBS, manifest("driver")))
    assert do(api, *changes) == ["create Job driver", "status Running at 7", "event Running"]


def test_what_a_run_leaves_stays_until_its_end_where_the_operator_may_not_delete_it() -> None:
    api = FakeApi().failing("delete", SECRETS, Forbidden("delete", "may not", status=403))
    assert do(api, Delete(SECRETS, "x-0f3c9a52-ray", None)) == ["status Running at 7", "event Running"]


def test_event_names_its_run_and_is_not_repeated() -> None:
    api = FakeApi()
    do(api)
    do(api)
    (event,) = api.events
    assert event["involvedObject"]["uid"] == UID and event["involvedObject"]["kind"] == "EvalRun"
    assert (event["type"], event["reason"], event["count"]) == ("Normal", "Running", 1)
    assert event["firstTimestamp"] == "2026-01-01T12:00:00Z"
    assert len(event["metadata"]["name"]) <= 63


def test_unwritable_event_is_not_a_failure() -> None:
    do(FakeApi().failing("create", EVENTS, Forbidden("create", "namespace is being terminated", status=403)))
