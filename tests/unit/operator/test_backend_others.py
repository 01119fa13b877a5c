"""What only pods read: made again while an attempt lives, deleted when no pod is left that could read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import EvalRun, EvalRunStatus, Phase, RunProgress
from evalrun_operator.kube.objects import CONFIG_MAPS, NETWORK_POLICIES, SECRETS, SERVICES, Create, Delete, Kind
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import NetworkPolicySettings, OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.observed import (
    Attempt,
    DriverPhase,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
)
from support.evalruns import NOON, make_run
from support.operator_backend_cases import REFERENCES, backend, job, objects, pod, vllm_s3

RUN = make_run().with_replicas(3).build()
EVERYTHING = frozenset({SECRETS, CONFIG_MAPS, SERVICES, NETWORK_POLICIES})
NAMES = {
    SECRETS: "nightly-0f3c9a52-ray",
    CONFIG_MAPS: "nightly-0f3c9a52-a1-config",
    SERVICES: "nightly-0f3c9a52-a1",
    NETWORK_POLICIES: "nightly-0f3c9a52-pods",
}


def decide(status: EvalRunStatus, seconds: float = 60, run: EvalRun = RUN, **observed: object) -> ReconcilePlan:
    there = Observed(run.model_copy(update={"status": status}), **observed)  # type: ignore[arg-type]
    return plan(there, OperatorSettings(), NOON + timedelta(seconds=seconds))


def made(run: EvalRun, desired: DesiredState, there: Objects, references: References | None) -> dict[Kind, str]:
    changes = backend().changes(run, desired, there, references)
    assert all(isinstance(change, Create) for change in changes)
    return {change.kind: change.manifest["metadata"]["name"] for change in changes if isinstance(change, Create)}


# Made again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing",
    [*({kind} for kind in NAMES), EVERYTHING, set()],
    ids=lambda kinds: ", ".join(sorted(kind.kind for kind in kinds)) or "nothing",
)
@pytest.mark.parametrize("ready", [False, True])
def test_c08_what_a_living_attempt_lacks_is_made_again(missing: set[Kind], ready: bool) -> None:
    there = replace(objects(job(), job("replica"), pod(job())), missing=frozenset(missing))
    driver = ObservedDriver(DriverPhase.READY if ready else DriverPhase.WAITING)
    decided = decide(
        EvalRunStatus(phase=Phase.STARTING, attempt=1, active_since=NOON),
        attempts={1: Attempt(driver, ObservedReplicas(3, 3, 3))},
        progress=RunProgress(phase=Phase.RUNNING) if ready else None,
    )
    assert decided.desired is not None
    assert made(RUN, decided.desired, there, References()) == {kind: NAMES[kind] for kind in missing}


def test_c08_the_config_map_is_the_one_that_the_attempt_had() -> None:
    run = vllm_s3()
    first = backend().changes(run, DesiredState(1, Desired.RUNNING), Objects(), REFERENCES)
    there = replace(objects(job()), missing=frozenset({CONFIG_MAPS}))
    (again,) = backend().changes(run, DesiredState(1), there, REFERENCES)
    assert again in first
    assert backend().changes(run, DesiredState(1), there, References()) == (), "an address that is not known"


@pytest.mark.parametrize(
    "ended", [{"deleting": True}, {"conditions": [("Failed", "x")]}, {"conditions": [("Complete", "x")]}]
)
def test_nothing_is_made_again_for_an_attempt_that_ended(ended: dict[str, Any]) -> None:
    there = replace(objects(job(**ended)), missing=EVERYTHING)
    assert backend().changes(RUN, DesiredState(1), there, References()) == ()
    leaving = replace(objects(job()), missing=EVERYTHING)
    changes = backend().changes(RUN, DesiredState(1, Desired.ABSENT, Desired.ABSENT), leaving, References())
    assert all(isinstance(change, Delete) for change in changes)


@pytest.mark.parametrize("phase", [DriverPhase.STARTING, DriverPhase.READY])
def test_c08_pods_that_wait_for_a_lost_token_get_an_attempt_with_a_new_one(phase: DriverPhase) -> None:
    status = EvalRunStatus(phase=Phase.RUNNING, attempt=1, charged_attempts=0, active_since=NOON)
    living = {1: Attempt(ObservedDriver(phase), ObservedReplicas(3, 3, 2))}
    decided = decide(status, attempts=living, token_lost=True)
    assert decided.desired is not None
    assert (decided.desired.driver, decided.desired.replicas) == (Desired.ABSENT, Desired.ABSENT)
    complete = next(one for one in decided.status.conditions if one.type == "Complete")
    assert "the token of the run's Ray was deleted" in complete.message
    after = decide(decided.status, 70, attempts={}, references=References())
    assert after.desired is not None
    assert (after.desired.attempt, after.desired.driver) == (2, Desired.RUNNING)
    assert (after.status.charged_attempts, after.status.attempt) == (0, 2)
    assert SECRETS in {change.kind for change in backend().changes(RUN, after.desired, Objects(), References())}


def test_c08_a_driver_that_has_not_begun_gets_its_secret() -> None:
    status = EvalRunStatus(phase=Phase.STARTING, attempt=1, active_since=NOON)
    decided = decide(status, attempts={1: Attempt(ObservedDriver(DriverPhase.WAITING))}, token_lost=True)
    there = replace(objects(job()), missing=frozenset({SECRETS}))
    assert decided.desired is not None
    assert made(RUN, decided.desired, there, None) == {SECRETS: NAMES[SECRETS]}


def test_a_pod_that_cannot_start_for_want_of_a_secret_says_so() -> None:
    of = job()
    waiting = pod(
        of, "Pending", waiting="CreateContainerConfigError", message='secret "nightly-0f3c9a52-ray" not found'
    )
    assert backend().attempts(objects(of, waiting))[1].pod_waits
    assert not backend().attempts(objects(of, pod(of, "Pending", waiting="ContainerCreating")))[1].pod_waits


# Deleted ----------------------------------------------------------------------------------------------------------


def deleted(desired: DesiredState, settings: OperatorSettings | None = None) -> list[tuple[Kind, str]]:
    changes = backend(settings).changes(RUN, desired, Objects(), None)
    assert all(isinstance(change, Delete) for change in changes)
    return [(change.kind, change.name) for change in changes if isinstance(change, Delete)]


def test_c21_a_finished_run_keeps_only_its_jobs() -> None:
    for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.INVALID, Phase.CANCELLED):
        status = EvalRunStatus(phase=phase, attempt=1, finished_at=NOON, observed_generation=1)
        ended = {1: Attempt(ObservedDriver(DriverPhase.SUCCEEDED), ObservedReplicas(3, ended=True))}
        decided = decide(status, 5, attempts=ended)
        assert decided.desired is not None
        assert deleted(decided.desired) == list(NAMES.items())
        assert decided.status == status.model_copy(update={"cleaned_up": True})
        assert decide(decided.status, 86400 * 365, attempts=ended).desired is None, "once"


def test_c21_nothing_goes_while_a_pod_may_read_it() -> None:
    status = EvalRunStatus(phase=Phase.SUCCEEDED, attempt=1, finished_at=NOON, observed_generation=1)
    for attempt in (
        Attempt(ObservedDriver(DriverPhase.SUCCEEDED), ObservedReplicas(3, active=3)),
        Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(3, ended=True)),
    ):
        for seconds in (5, 60):
            decided = decide(status, seconds, attempts={1: attempt})
            assert decided.status == status
            assert decided.desired is None or decided.desired.others is Desired.UNCHANGED


def test_c21_every_attempt_is_cleaned_up_and_an_earlier_one_by_the_next() -> None:
    everything = deleted(DesiredState(3, others=Desired.ABSENT))
    assert {name for kind, name in everything if kind is CONFIG_MAPS} == {
        f"nightly-0f3c9a52-a{number}-config" for number in (1, 2, 3)
    }
    next_one = backend().changes(RUN, DesiredState(3, Desired.RUNNING), Objects(), None)
    gone = [(change.kind, change.name, change.uid) for change in next_one if isinstance(change, Delete)]
    assert gone == [(CONFIG_MAPS, "nightly-0f3c9a52-a2-config", None), (SERVICES, "nightly-0f3c9a52-a2", None)]
    second = backend().changes(RUN, DesiredState(2, Desired.RUNNING), Objects(), None)
    gone = [(change.kind, change.name, change.uid) for change in second if isinstance(change, Delete)]
    assert gone == [(SERVICES, "nightly-0f3c9a52-a1", None)], "later attempts are made from the first RunConfig"
    assert not any(
        isinstance(change, Delete)
        for change in backend().changes(RUN, DesiredState(1, Desired.RUNNING), Objects(), None)
    )


def test_a_run_without_an_attempt_and_one_without_a_policy_leave_less() -> None:
    assert (
        decide(EvalRunStatus(phase=Phase.INVALID, finished_at=NOON, observed_generation=1), attempts={}).desired is None
    )
    settings = OperatorSettings(network_policy=NetworkPolicySettings(enabled=False))
    assert NETWORK_POLICIES not in dict(deleted(DesiredState(1, others=Desired.ABSENT), settings))


def test_c21_an_administrator_sets_the_time_to_live_of_runs_that_do_not() -> None:
    status = EvalRunStatus(phase=Phase.SUCCEEDED, attempt=1, finished_at=NOON, cleaned_up=True, observed_generation=1)
    week = OperatorSettings(ttl_seconds_after_finished=604800)

    def deletes(run: EvalRun, seconds: float) -> tuple[bool, float]:
        there = Observed(run.model_copy(update={"status": status}))
        decided = plan(there, week, NOON + timedelta(seconds=seconds))
        return decided.delete_run, decided.requeue_after

    assert deletes(RUN, 604799) == (False, 1)
    assert deletes(RUN, 604800)[0]
    assert deletes(make_run().with_policy(ttlSecondsAfterFinished=60).build(), 60)[0]
    assert not deletes(make_run().with_policy(ttlSecondsAfterFinished=10**9).build(), 10**8)[0]
