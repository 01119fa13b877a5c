"""What is written, in which order, and what becomes of refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evalrun_api import EvalRunStatus, Phase
from evalrun_operator import names
from evalrun_operator.apply import apply
from evalrun_operator.kube.errors import ChildRefused, Conflict, Forbidden, Invalid, NotFound
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


def test_children_come_first_then_the_status_then_events() -> None:
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


def test_a_status_that_is_there_is_not_written_again() -> None:
    assert do(FakeApi(), plan=ReconcilePlan(None, EvalRunStatus(phase=Phase.STARTING))) == []


def test_a_status_that_meets_a_newer_object_is_decided_anew_and_tells_nothing() -> None:
    api = FakeApi().failing("apply", EVALRUNS, conflict())
    with pytest.raises(Conflict):
        do(api, Create(JOBS, manifest("driver")))
    assert api.log == ["create Job driver"]


def test_a_run_whose_time_is_over_is_deleted_and_gets_no_status() -> None:
    assert do(FakeApi(), plan=ReconcilePlan(None, RUNNING, delete_run=True)) == [f"delete EvalRun x {UID} None"]


def child(kind: Kind, uid: str, **metadata: Any) -> FakeApi:
    return FakeApi().having(kind, "driver", metadata={"labels": names.run_labels(uid), **metadata})


def test_a_child_that_is_there_is_left_as_it_is() -> None:
    assert do(child(JOBS, UID), Create(JOBS, manifest("driver"))) == ["status Running at 7", "event Running"]


def test_a_child_on_its_way_out_is_waited_for() -> None:
    with pytest.raises(Conflict, match="being deleted"):
        do(child(JOBS, UID, deletionTimestamp="2026-01-01T12:00:00Z"), Create(JOBS, manifest("driver")))


def test_a_child_of_an_earlier_run_of_the_same_name_is_waited_for() -> None:
    with pytest.raises(Conflict, match="earlier run"):
        do(child(JOBS, "another"), Create(JOBS, manifest("driver")))


def test_a_stranger_of_a_childs_name_is_not_taken_for_one() -> None:
    with pytest.raises(
        ChildRefused, match="does not belong to this run; hint: delete it, or give the run another name"
    ):
        do(FakeApi().having(JOBS, "driver"), Create(JOBS, manifest("driver")))


def test_the_runs_secret_needs_no_right_to_read_secrets() -> None:
    api = child(SECRETS, UID).failing("metadata", SECRETS, Forbidden("get", "no", status=403))
    assert do(api, Create(SECRETS, manifest("driver"))) == ["status Running at 7", "event Running"]


def test_a_child_that_was_there_and_is_gone_is_made_at_the_next_look() -> None:
    api = child(JOBS, UID).failing("metadata", JOBS, NotFound("get", "gone", status=404))
    with pytest.raises(Conflict, match="retrying"):
        do(api, Create(JOBS, manifest("driver")))


@pytest.mark.parametrize("error", [Invalid("create", "spec.template: too bad"), Forbidden("create", "exceeded quota")])
def test_a_refused_child_is_named_with_the_reason_and_nothing_after_it_is_written(error: Invalid | Forbidden) -> None:
    api = FakeApi().failing("create", JOBS, error)
    with pytest.raises(ChildRefused, match=f"the Job driver was refused: {error.message}"):
        do(api, Create(CONFIG_MAPS, manifest("config")), Create(JOBS, manifest("driver")))
    assert api.log == ["create ConfigMap config"]


@pytest.mark.parametrize("error", [NotFound("x", "gone"), Conflict("x", "another uid")])
def test_what_is_to_go_and_is_gone_is_fine(error: NotFound | Conflict) -> None:
    api = FakeApi().failing("delete", JOBS, error)
    assert do(api, Delete(JOBS, "driver", "u-1")) == ["status Running at 7", "event Running"]


def test_an_event_says_what_about_whom_and_is_not_repeated() -> None:
    api = FakeApi()
    do(api)
    do(api)
    (event,) = api.events
    assert event["involvedObject"]["uid"] == UID and event["involvedObject"]["kind"] == "EvalRun"
    assert (event["type"], event["reason"], event["count"]) == ("Normal", "Running", 1)
    assert event["firstTimestamp"] == "2026-01-01T12:00:00Z"
    assert len(event["metadata"]["name"]) <= 63


def test_nobody_to_tell_is_no_failure() -> None:
    do(FakeApi().failing("create", EVENTS, Forbidden("create", "namespace is being terminated", status=403)))
