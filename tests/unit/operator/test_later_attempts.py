"""What an attempt needs, and what becomes of a run while that cannot be read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import Counts, EvalRunStatus, Phase, RunProgress, RunResult
from evalrun_operator.kube.errors import ApiError, TooManyRequests, Unavailable
from evalrun_operator.kube.objects import CLAIMS, CONFIG_MAPS, EVALRUNS, NODES, SECRETS, Change, Create, Delete, Kind
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import Observed
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import backend, job, pod

SETTINGS = OperatorSettings()
LATE = NOON + timedelta(hours=1)
STORE = {"credentialsSecretRef": {"name": "s3"}}
FAILED = job("driver", conditions=[("Failed", "BackoffLimitExceeded")])
UNREAD = [
    Unavailable("get", "the key of the encryption is away", status=500),
    Unavailable("get", "who are you", status=401),
    Unavailable("get", "no answer in 30 s"),
    TooManyRequests("get", "later", status=429),
    ApiError("get", "gone", status=410),
]


def naming_runs() -> Builder:
    gate = {"task": "gsm8k", "metric": "acc", "baseline": {"runName": "best"}, "maxRegression": 0.1}
    return make_run().with_spec(gates=[gate], resumeFrom={"runName": "old"})


def begun(run: Builder) -> Builder:
    """Have attempt 1 recorded, as a version did that recorded no earlier runs."""
    return run.with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=1, started_at=NOON, active_since=NOON))


def look(run: Builder, children: Sequence[dict[str, Any]], api: FakeApi) -> tuple[ReconcilePlan, tuple[Change, ...]]:
    """Observe and decide once, late."""

    async def silent(_: str) -> RunProgress | None:
        return None

    api.objects["EvalRun", run.name] = run.manifest()
    for one in children:
        api.objects["Job" if "parallelism" in one["spec"] else "Pod", one["metadata"]["name"]] = one
    observer = Observer(api, backend(), silent, lambda: LATE)  # type: ignore[arg-type]
    found = asyncio.run(observer.observe(Key(run.namespace, run.name)))
    assert found is not None
    observed, objects = found
    decided = plan(observed, SETTINGS, LATE)
    desired = decided.desired
    return decided, () if desired is None else backend().changes(observed.run, desired, objects, observed.references)


def first_config(run: Builder) -> FakeApi:
    config = json.dumps({"uid": run.uid, "attempt": 1, "resumeFrom": {"uri": "s3://evals/old/"}})
    return FakeApi().having(CONFIG_MAPS, f"{run.name}-{run.uid[:8]}-a1-config", data={"run.json": config})


def test_earlier_runs_that_are_deleted_in_mid_run_keep_no_attempt_from_being_made() -> None:
    run = begun(naming_runs())
    api = first_config(run)
    decided, changes = look(run, [FAILED], api)
    assert (decided.status.phase, decided.status.attempt) == (Phase.STARTING, 2)
    (config,) = (one.manifest for one in changes if isinstance(one, Create) and one.kind is CONFIG_MAPS)
    assert json.loads(config["data"]["run.json"])["resumeFrom"] == {"uri": "s3://evals/old/"}
    assert not [one for one in api.read if one.startswith("get EvalRun") and run.name not in one]


def test_without_the_first_input_a_deleted_run_is_waited_for() -> None:
    decided, _ = look(begun(naming_runs()), [FAILED], FakeApi())
    assert decided.status.phase is Phase.PENDING


@pytest.mark.parametrize("error", UNREAD, ids=str)
def test_c02_a_new_run_says_what_cannot_be_read_and_is_soon_looked_at_again(error: ApiError) -> None:
    run = make_run().with_spec(output={"uri": "s3://evals/", "storage": STORE})
    decided, changes = look(run, [], FakeApi().failing("metadata", SECRETS, error))
    (accepted,) = (one for one in decided.status.conditions if one.type == "Accepted")
    assert (decided.status.phase, accepted.status) == (Phase.PENDING, "Unknown") and error.message in accepted.message
    assert changes == () and decided.requeue_after == 1.0
    assert plan(Observed(run.with_status(decided.status).build()), SETTINGS, LATE).status.phase is Phase.STARTING


@pytest.mark.parametrize("error", UNREAD, ids=str)
def test_a_node_that_cannot_be_read_keeps_no_run_from_being_judged(error: ApiError) -> None:
    stuck = pod(job("replica"), deleted="2026-01-01T12:10:00Z", index=1)
    late = begun(make_run().with_policy(activeDeadlineSeconds=60))
    decided, _ = look(late, [job("driver"), job("replica"), stuck], FakeApi().failing("get", NODES, error))
    assert decided.status.phase is Phase.FAILED


NAMED: dict[Kind, tuple[str, dict[str, Any]]] = {
    SECRETS: ("metadata", {"output": {"uri": "s3://evals/", "storage": STORE}}),
    CLAIMS: ("metadata", {"model": {"uri": "pvc://models/tiny"}}),
    CONFIG_MAPS: ("get", {}),
}


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.plural)
@pytest.mark.parametrize("error", UNREAD, ids=str)
def test_c02_what_cannot_be_read_keeps_no_later_attempt_from_being_judged(error: ApiError, kind: Kind) -> None:
    verb, spec = NAMED[kind]

    def named() -> Builder:
        return begun(make_run().with_spec(**spec).with_policy(activeDeadlineSeconds=7200))

    def failing() -> FakeApi:
        return FakeApi().failing(verb, kind, error)

    waiting, changes = look(named(), [FAILED, job("replica")], failing())
    (accepted,) = (one for one in waiting.status.conditions if one.type == "Accepted")
    assert (waiting.status.phase, accepted.status, accepted.reason) == (Phase.PENDING, "Unknown", "Retrying")
    assert error.message in accepted.message
    assert [one.name for one in changes if isinstance(one, Delete)] == ["nightly-a1-replicas"], "GPUs are freed"
    late, _ = look(named().with_policy(activeDeadlineSeconds=60), [FAILED], failing())
    assert late.status.phase is Phase.FAILED
    result = RunResult(phase=Phase.SUCCEEDED, counts=Counts(planned=9, ok=9), results_uri="s3://evals/x/")
    driver = job("driver")
    api = failing()
    done, _ = look(named(), [driver, pod(driver, "Succeeded", exit_code=0, message=result.to_json())], api)
    assert done.status.phase is Phase.SUCCEEDED
    assert [one.split()[1] for one in api.read if "list" not in one] == [EVALRUNS.kind], "nothing else is needed"
