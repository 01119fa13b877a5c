"""Runs across upgrades and rollbacks: what has begun goes on, whatever another version thinks of its spec."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import (
    Condition,
    ConditionStatus,
    ConditionType,
    Counts,
    EvalRunStatus,
    Phase,
    ReplicaStatus,
    RunProgress,
    RunResult,
)
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.errors import Forbidden
from evalrun_operator.kube.objects import CONFIG_MAPS, JOBS, Change, Create
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.observe.parse import parse_run
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import Desired
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

SETTINGS = OperatorSettings()
LATER = NOON + timedelta(seconds=60)
WORKING = {1: Attempt(ObservedDriver(DriverPhase.READY, address="10.0.0.1"), ObservedReplicas(8, active=8, running=8))}
PROGRESS = RunProgress(phase=Phase.RUNNING, counts=Counts(planned=100, ok=99), replicas_ready=8)
GOOD = RunResult(phase=Phase.SUCCEEDED, counts=Counts(planned=100, ok=100), results_uri="s3://evals/x/")
UNKNOWN = ConditionStatus.UNKNOWN

VLLM = {"vllm": {"tensorParallelSize": 2}}


def with_arguments(**args: Any) -> Builder:
    return make_run().with_spec(engine={"vllm": {"tensorParallelSize": 2, "args": args}}).with_replicas(8)


OF_ANOTHER_VERSION: dict[str, Builder] = {
    "a field that a newer version added": make_run().with_replicas(8).with_spec(priority=5),
    "a new field of the policy": make_run().with_replicas(8).with_policy(newDeadlineSeconds=600),
    "a new field of a benchmark": make_run()
    .with_replicas(8)
    .with_spec(benchmarks=[{"task": "gsm8k"}, {"task": "mmlu", "judge": {"model": "x"}}]),
    "a new engine": make_run().with_replicas(8).with_spec(engine={"sglang": {}}),
    "a new place for results": make_run().with_replicas(8).with_spec(output={"gcs": "gs://x/"}),
    "a word that a newer version added": make_run().with_replicas(8).with_spec(engine=VLLM | {"numerics": "exact"}),
    "a rule that a newer version added": make_run().with_replicas(8, minCount=9),
    "names that only another version lets be equal": make_run()
    .with_replicas(8)
    .with_spec(benchmarks=[{"task": "gsm8k"}, {"task": "gsm8k"}]),
    "a bound that was lowered": make_run().with_replicas(8).with_policy(maxAttempts=1000),
}
"""Specs that another version lets through, with what this one cannot read or refuses."""
ENGINE_ARGUMENTS: dict[str, Builder] = {
    "an engine argument that left the allow-list": with_arguments(swap_space=4),
    "a value that left the list of an argument": with_arguments(dtype="float8"),
    "a bound of an argument that was lowered": with_arguments(gpu_memory_utilization=1.5, block_size=10**6),
}
"""The same of engine arguments, which only the runner reads, in the version that the run began with."""
BOTH = OF_ANOTHER_VERSION | ENGINE_ARGUMENTS


def observed(run: Builder, **fields: Any) -> Observed:
    parsed, problem = parse_run(run.manifest())
    return Observed(parsed, invalid=problem, **fields)


def begun(run: Builder) -> EvalRunStatus:
    """Return the status that the version left with which the run began."""
    readable = replace(make_run(run.name), spec=make_run().spec).with_replicas(8)
    status = plan(Observed(readable.build(), {}, references=References()), SETTINGS, NOON).status
    run.with_status(readable.with_status(status).status)
    working = readable.with_status(status).build()
    status = plan(Observed(working, WORKING, PROGRESS), SETTINGS, NOON).status
    run.with_status(status)
    return status


def accepted(decided: ReconcilePlan) -> Condition:
    return next(one for one in decided.status.conditions if one.type == ConditionType.ACCEPTED)


@pytest.mark.parametrize("name", BOTH)
def test_c03_another_version_of_the_operator_ends_no_run_and_touches_no_child(name: str) -> None:
    run = BOTH[name]
    before = begun(run)
    decided = plan(observed(run, attempts=WORKING, progress=PROGRESS), SETTINGS, LATER)
    desired = decided.desired
    assert desired is None or (desired.driver, desired.replicas, desired.count) == (
        Desired.UNCHANGED,
        Desired.RUNNING,
        8,
    )
    changed = {
        field for field in EvalRunStatus.model_fields if getattr(decided.status, field) != getattr(before, field)
    }
    assert changed <= {"conditions"}
    others = [one for one in decided.status.conditions if one.type != ConditionType.ACCEPTED]
    assert others == [one for one in before.conditions if one.type != ConditionType.ACCEPTED]
    if name in OF_ANOTHER_VERSION:
        assert accepted(decided).status is UNKNOWN
        assert "written for another version" in accepted(decided).message
    # The version with which it began is back.
    back = replace(make_run(), spec=make_run().spec).with_replicas(8).with_status(decided.status)
    again = plan(observed(back, attempts=WORKING, progress=PROGRESS), SETTINGS, LATER)
    assert again.desired is not None and again.desired.replicas is Desired.RUNNING
    assert accepted(again).status is ConditionStatus.TRUE


@pytest.mark.parametrize("name", BOTH)
def test_the_end_of_a_run_of_another_version_is_seen(name: str) -> None:
    run = BOTH[name]
    begun(run)
    ended = {1: Attempt(ObservedDriver(DriverPhase.SUCCEEDED, GOOD, 0))}
    status = plan(observed(run, attempts=ended), SETTINGS, LATER).status
    assert (status.phase, status.results_uri) == (Phase.SUCCEEDED, GOOD.results_uri)


@pytest.mark.parametrize("ending", [ObservedDriver(DriverPhase.FAILED, exit_code=1), None])
@pytest.mark.parametrize("name", OF_ANOTHER_VERSION)
def test_the_next_attempt_waits_for_a_version_that_can_make_it(name: str, ending: ObservedDriver | None) -> None:
    run = OF_ANOTHER_VERSION[name]
    begun(run)
    attempts = {1: Attempt(ending)} if ending else {}
    decided = plan(observed(run, attempts=attempts), SETTINGS, LATER)
    assert decided.desired is None and decided.status.attempt == 1
    assert decided.status.phase is Phase.PENDING and decided.status.active_since is None
    assert accepted(decided).status is UNKNOWN and accepted(decided).reason == "AnotherVersion"


def test_what_a_user_asks_for_is_done_where_it_can_be_read() -> None:
    run = make_run().with_replicas(8).with_spec(priority=5)
    begun(run)
    suspended = plan(observed(run.suspended(), attempts=WORKING), SETTINGS, LATER)
    assert suspended.status.phase is Phase.SUSPENDED
    assert suspended.desired is not None and suspended.desired.replicas is Desired.ABSENT
    assert accepted(suspended).status is UNKNOWN
    late = make_run().with_replicas(8).with_policy(activeDeadlineSeconds=30, newDeadlineSeconds=5)
    begun(late)
    ended = plan(observed(late, attempts=WORKING), SETTINGS, LATER)
    assert (ended.status.phase, accepted(ended).status) == (Phase.FAILED, ConditionStatus.TRUE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a field that a newer version added", "spec.priority: unknown field"),
        ("a new field of the policy", "spec.policy.newDeadlineSeconds: unknown field"),
        ("a word that a newer version added", "spec.engine.numerics: must be"),
    ],
)
def test_a_run_that_has_not_begun_waits_if_it_has_what_only_another_version_knows(name: str, said: str) -> None:
    decided = plan(observed(replace(OF_ANOTHER_VERSION[name], status=None)), SETTINGS, LATER)
    assert decided.status.phase is Phase.PENDING and decided.desired is None
    assert said in accepted(decided).message and "run the version" in accepted(decided).message
    assert [event.reason for event in decided.events] == ["AnotherVersion"]


def test_a_run_that_has_not_begun_is_invalid_if_it_breaks_a_rule() -> None:
    decided = plan(
        observed(replace(OF_ANOTHER_VERSION["a rule that a newer version added"], status=None)), SETTINGS, LATER
    )
    assert decided.status.phase is Phase.INVALID


# The input of later attempts ---------------------------------------------------------------------------------------


class Scene:
    """The real observer and backend before an API server with the first attempt's ConfigMap."""

    def __init__(self, run: Builder, config: dict[str, Any] | None) -> None:
        self.run = run
        self.backend = JobsBackend(SETTINGS, lambda: "token")
        self.api = FakeApi()
        self.status: EvalRunStatus | None = None
        self.api.objects["EvalRun", run.name] = run.manifest()
        if config is not None:
            self.api.having(CONFIG_MAPS, f"{run.name}-{run.uid[:8]}-a1-config", data={"run.json": json.dumps(config)})

    def changes(self) -> tuple[Change, ...]:
        async def silent(_: str) -> RunProgress | None:
            return None

        observer = Observer(self.api, self.backend, silent, lambda: LATER)  # type: ignore[arg-type]
        found = asyncio.run(observer.observe(Key(self.run.namespace, self.run.name)))
        assert found is not None
        seen, _ = found
        decided = plan(seen, SETTINGS, LATER)
        self.status = decided.status
        if decided.desired is None:
            return ()
        return self.backend.changes(seen.run, decided.desired, Objects(), seen.references)


def first_config(run: Builder, **fields: Any) -> dict[str, Any]:
    return {"name": run.name, "uid": run.uid, "attempt": 1, "spec": {"of": "another version"}} | fields


def made(changes: tuple[Change, ...], kind: str) -> dict[str, Any]:
    return next(dict(one.manifest) for one in changes if isinstance(one, Create) and one.kind.kind == kind)


@pytest.mark.parametrize("run", [make_run().with_replicas(8), *ENGINE_ARGUMENTS.values()])
def test_later_attempts_have_the_input_of_the_first(run: Builder) -> None:
    begun(run)
    changes = Scene(run, first_config(run, allowCode=True)).changes()
    config = json.loads(made(changes, "ConfigMap")["data"]["run.json"])
    assert config == first_config(run, attempt=2, allowCode=False)
    # What nobody may change, and what pods are made from, is as before.
    (container,) = made(changes, JOBS.kind)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == SETTINGS.image.reference


@pytest.mark.parametrize("config", [None, {"uid": "of another run"}, {}])
def test_without_the_first_input_it_is_made_again_from_a_spec_that_can_be_read(config: dict[str, Any] | None) -> None:
    run = make_run().with_replicas(8)
    begun(run)
    made_again = json.loads(made(Scene(run, config).changes(), "ConfigMap")["data"]["run.json"])
    assert made_again["spec"]["benchmarks"][0]["task"] == "gsm8k" and made_again["attempt"] == 2
    refused = with_arguments(swap_space=4)
    begun(refused)
    assert Scene(refused, config).changes() == ()


def test_a_first_input_that_may_not_be_read_is_waited_for() -> None:
    run = make_run().with_replicas(8)
    begun(run)
    scene = Scene(run, first_config(run))
    scene.api.failing("get", CONFIG_MAPS, Forbidden("get configmaps", "no", status=403))
    assert [one for one in scene.changes() if isinstance(one, Create)] == []
    assert scene.status is not None and scene.status.phase is Phase.PENDING
    said = next(one for one in scene.status.conditions if one.type == ConditionType.ACCEPTED)
    assert (said.status, said.reason) == (UNKNOWN, "Forbidden")


def test_replicas_of_a_run_with_a_refused_argument_have_the_gpus_of_its_engine() -> None:
    run = with_arguments(swap_space=4)
    begun(run)
    ready = {1: Attempt(ObservedDriver(DriverPhase.READY))}
    seen = observed(run, attempts=ready)
    decided = plan(seen, SETTINGS, LATER)
    assert decided.desired is not None
    changes = JobsBackend(SETTINGS).changes(seen.run, decided.desired, Objects(), None)
    (container,) = made(changes, JOBS.kind)["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_a_check_that_became_stricter_ends_no_run_between_two_attempts() -> None:
    # As with GPUs for each stage of a pipeline: an older version let this through.
    run = make_run().with_spec(engine=VLLM).with_replicas(8, resources={"limits": {"nvidia.com/gpu": 1}})
    begun(run)
    assert run.status is not None and run.status.replicas == ReplicaStatus(desired=8, ready=8)
    assert made(Scene(run, first_config(run)).changes(), JOBS.kind)["metadata"]["name"] == "nightly-a2-driver"
