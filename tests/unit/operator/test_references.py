"""The objects that a spec names: how they are looked up, and how long a run waits for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from evalrun_api import ConditionStatus, EvalRunSpec, EvalRunStatus, Phase, Reason, ResolvedRun, RunLocation
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.errors import ApiError, Forbidden, Unavailable
from evalrun_operator.kube.objects import CLAIMS, CONFIG_MAPS, EVALRUNS, NODES, PODS, SECRETS, Kind
from evalrun_operator.observe.lookups import LOOKUPS_AT_ONCE, look_up
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import (
    Attempt,
    DriverPhase,
    Missing,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
)
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi

SETTINGS = OperatorSettings()
GRACE = SETTINGS.reference_grace_seconds
STORE = {"endpointURL": "https://s3.example.com", "credentialsSecretRef": {"name": "s3"}, "caBundleRef": {"name": "ca"}}
ALLOWED = {"labels": {"evalrun.dev/use": "storage"}}
WHERE = "spec.output.storage.credentialsSecretRef.name"
GONE = Missing(WHERE, Reason.NOT_FOUND, "Secret s3 does not exist")
REFUSED = Missing(WHERE, Reason.FORBIDDEN, 'secrets "s3" is forbidden')


@dataclass
class Story:
    """A run over time, with the status that each look leaves: nothing else is remembered."""

    run: Builder = field(default_factory=make_run)
    attempts: dict[int, Attempt] = field(default_factory=dict)

    def at(self, seconds: float, *problems: Missing, runs: dict[str, RunLocation] | None = None) -> ReconcilePlan:
        observed = Observed(self.run.build(), self.attempts, references=References(problems, runs or {}))
        decided = plan(observed, SETTINGS, NOON + timedelta(seconds=seconds))
        self.run.with_status(decided.status)
        return decided

    def begun(self) -> Story:
        """Begin attempt 1, whose driver is ready."""
        self.at(0)
        self.attempts = {1: Attempt(ObservedDriver(DriverPhase.READY), ObservedReplicas(1, 1, 1))}
        self.at(5)
        return self


def accepted(decided: ReconcilePlan) -> tuple[ConditionStatus, str, str]:
    found = next(one for one in decided.status.conditions if one.type == "Accepted")
    return found.status, found.reason, found.message


# The wait ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [GONE, Missing(WHERE, Reason.SECRET_NOT_ALLOWED, "no label"), REFUSED])
@pytest.mark.parametrize(
    "left", [{}, {1: Attempt(ObservedDriver(DriverPhase.FAILED, exit_code=1, ended_at=NOON + timedelta(hours=2)))}]
)
def test_c01_no_later_attempt_ends_for_a_missing_object(problem: Missing, left: dict[int, Attempt]) -> None:
    story = Story().begun()
    story.attempts = left
    for hours in (2, 3, 300):
        waiting = story.at(3600 * hours, problem)
        assert waiting.status.phase is Phase.PENDING and accepted(waiting)[0] is not ConditionStatus.TRUE
        assert waiting.desired is not None and waiting.desired.attempt == 1
    resumed = story.at(3600 * 301)
    assert resumed.status.attempt == 2 and accepted(resumed)[0] is ConditionStatus.TRUE


def test_c01_grace_counts_from_when_an_object_was_first_found_missing() -> None:
    story = Story(make_run().suspended())
    story.at(1)
    story.run.with_policy(suspend=False)
    assert story.at(600, GONE).status.phase is Phase.PENDING, "made suspended long ago, resumed now"
    assert story.at(600 + GRACE - 1, GONE).status.phase is Phase.PENDING
    ended = story.at(600 + GRACE, GONE)
    assert ended.status.phase is Phase.INVALID and accepted(ended)[:2] == (ConditionStatus.FALSE, "NotFound")


def test_grace_ends_for_what_is_missing_even_beside_what_may_not_be_read() -> None:
    story = Story()
    assert accepted(story.at(0, REFUSED, GONE))[:2] == (ConditionStatus.FALSE, "NotFound")
    assert REFUSED.message in accepted(story.at(1, REFUSED, GONE))[2]
    assert story.at(GRACE, REFUSED, GONE).status.phase is Phase.INVALID


def test_longer_waits_are_looked_at_less_often() -> None:
    story = Story().begun()
    story.attempts = {}
    assert [story.at(1000 + passed, GONE).requeue_after for passed in (0, 100, 300, 86400)] == [10, 10, 30, 60]


# A moment's refusal -------------------------------------------------------------------------------------------------


def test_c02_a_403_on_a_reference_waits_and_is_said() -> None:
    story = Story()
    first = story.at(0, REFUSED)
    assert accepted(first) == (ConditionStatus.UNKNOWN, "Forbidden", f"{WHERE}: {REFUSED.message}")
    assert [event.reason for event in first.events] == ["Forbidden"]
    assert story.at(100 * GRACE, REFUSED).status.phase is Phase.PENDING
    assert story.at(100 * GRACE + 1).status.attempt == 1


@pytest.mark.parametrize(
    ("kind", "verb", "spec"),
    [
        (SECRETS, "metadata", {"output": {"uri": "s3://evals/", "storage": {"credentialsSecretRef": {"name": "n"}}}}),
        (CONFIG_MAPS, "get", {"output": {"uri": "s3://evals/", "storage": {"caBundleRef": {"name": "n"}}}}),
        (CONFIG_MAPS, "metadata", {"benchmarks": [{"task": "t", "source": {"configMap": {"name": "n"}}}]}),
        (CLAIMS, "metadata", {"model": {"uri": "pvc://n/tiny"}}),
        (EVALRUNS, "get", {"resumeFrom": {"runName": "n"}}),
    ],
)
def test_c02_a_moments_403_is_known_by_the_words_of_the_api_server(kind: Kind, verb: str, spec: dict[str, Any]) -> None:
    wanted = make_run().with_spec(**spec).build().spec
    refused = Forbidden("get", f'{kind.plural} "n" is forbidden: no RBAC policy matched', status=403)
    found = looked_up(FakeApi().failing(verb, kind, refused), wanted)
    (problem,) = found.problems
    assert problem.reason is Reason.FORBIDDEN and refused.message in problem.message
    unavailable = Unavailable("get", "Unauthorized", status=401)
    with pytest.raises(Unavailable):
        looked_up(FakeApi().failing(verb, kind, unavailable), wanted)


@pytest.mark.parametrize(
    ("error", "minutes"),
    [(Forbidden("get", "no", status=403), 10), (Unavailable("get", "Unauthorized", status=401), 0)],
)
def test_c02_nodes_are_asked_again(error: ApiError, minutes: int, caplog: pytest.LogCaptureFixture) -> None:
    now = [NOON]
    owner = {"kind": "Job", "uid": "u-job", "controller": True}
    metadata = {"deletionTimestamp": "2026-01-01T11:59:00Z", "ownerReferences": [owner]}
    api = FakeApi().having(PODS, "p", metadata=metadata, spec={"nodeName": "n"})
    api.objects["EvalRun", "x"] = make_run("x").manifest()

    async def lost(observer: Observer) -> set[str] | None:
        try:
            seen = await observer.observe(Key("team", "x"))
        except Unavailable:
            return None
        assert seen is not None
        return set(seen[1].lost_nodes)

    async def scene() -> None:
        observer = Observer(api, JobsBackend(SETTINGS), nobody_answers, lambda: now[0])  # type: ignore[arg-type]
        assert await lost(observer) == {"n"}
        api.failing("get", NODES, error)
        assert not await lost(observer)
        api.errors.clear()
        if minutes:
            now[0] += timedelta(minutes=minutes, seconds=-1)
            assert await lost(observer) == set()
            now[0] += timedelta(seconds=1)
        assert await lost(observer) == {"n"}

    asyncio.run(scene())
    assert caplog.text.count("not force-deleted") == bool(minutes)


async def nobody_answers(_: str) -> None:
    return None


# The lookups ------------------------------------------------------------------------------------------------------


@dataclass
class CountingApi(FakeApi):
    """An API server that counts how many calls it has at once."""

    now: int = 0
    most: int = 0

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        async with self._one_more():
            return await super().get(kind, namespace, name)

    async def get_metadata(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        async with self._one_more():
            return await super().get_metadata(kind, namespace, name)

    @asynccontextmanager
    async def _one_more(self) -> AsyncIterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            yield
        finally:
            self.now -= 1


def looked_up(api: FakeApi, spec: EvalRunSpec, resolved: Iterable[str] = ()) -> References:
    known = {name: RunLocation(uri=f"s3://evals/{name}/") for name in resolved}
    return asyncio.run(look_up(api, "team", spec, known))  # type: ignore[arg-type]


def naming_much() -> EvalRunSpec:
    baseline = {"task": "t1", "metric": "acc", "baseline": {"runName": "old"}, "maxRegression": 0.1}
    return (
        make_run()
        .with_spec(
            output={"uri": "s3://evals/", "storage": STORE},
            benchmarks=[
                {"task": f"t{n}", "source": {"s3": {"uri": "s3://bucket/x/", "storage": STORE}}} for n in range(300)
            ]
            + [{"task": f"u{n}", "source": {"configMap": {"name": f"suite-{n}"}}} for n in range(50)],
            gates=[baseline] * 300,
            resumeFrom={"runName": "old"},
        )
        .build()
        .spec
    )


def test_c30_each_object_is_looked_up_once_and_few_at_a_time() -> None:
    api = CountingApi()
    api.having(SECRETS, "s3", metadata=ALLOWED).having(CONFIG_MAPS, "ca", data={"ca.crt": ""}, metadata=ALLOWED)
    api.having(EVALRUNS, "old", status={"phase": "Succeeded", "resultsUri": "s3://evals/old/"})
    found = looked_up(api, naming_much())
    assert set(Counter(api.read).values()) == {1} and len(api.read) == 53
    assert 1 < api.most <= LOOKUPS_AT_ONCE
    assert found.runs == {"old": RunLocation(uri="s3://evals/old/")}
    assert len(found.problems) == 50, "the suites"


def test_object_that_many_fields_name_is_one_problem() -> None:
    found = looked_up(
        FakeApi().having(EVALRUNS, "old", status={"phase": "Failed", "resultsUri": "s3://e/"}), naming_much()
    )
    named = [problem.field for problem in found.problems if "Map.name" not in problem.field]
    assert named == [
        "spec.benchmarks[0].source.s3.storage.credentialsSecretRef.name (and 300 more)",
        "spec.benchmarks[0].source.s3.storage.caBundleRef.name (and 300 more)",
        "spec.gates[0].baseline.runName (and 299 more)",
    ], "a failed run can be resumed from, and is no baseline"


def test_nothing_more_is_asked_after_a_failure() -> None:
    api = CountingApi().failing("metadata", SECRETS, Unavailable("get", "etcd is away", status=503))
    with pytest.raises(Unavailable):
        looked_up(api, naming_much())
    assert len(api.read) <= 2 * LOOKUPS_AT_ONCE


# What an earlier attempt resolved -----------------------------------------------------------------------------------


def resuming() -> Builder:
    gate = {"task": "gsm8k", "metric": "acc", "baseline": {"runName": "best"}, "maxRegression": 0.1}
    return make_run().with_spec(resumeFrom={"runName": "old"}, gates=[gate])


def test_what_an_attempt_resolved_is_recorded_and_stays_resolved() -> None:
    runs = {name: RunLocation(uri=f"s3://evals/{name}/") for name in ("old", "best")}
    story = Story(resuming())
    assert story.at(0, GONE, runs=runs).status.resolved_runs == ()
    begun = story.at(1, runs=runs)
    expected = tuple(ResolvedRun(name=name, uri=f"s3://evals/{name}/") for name in ("best", "old"))
    assert begun.status.resolved_runs == expected
    story.attempts = {1: Attempt(ObservedDriver(DriverPhase.READY))}
    assert story.at(2).status.resolved_runs == expected, "nothing was looked up"
    api = FakeApi()
    assert looked_up(api, resuming().build().spec, ("old", "best")) == References((), runs)
    assert api.read == []


def test_runs_of_an_attempt_that_was_created_and_not_recorded_are_resolved() -> None:
    """The operator was killed between both writes."""
    status = {"phase": "Succeeded", "resultsUri": "s3://evals/old/"}

    def seen(status_of_run: EvalRunStatus | None) -> References | None:
        api = FakeApi().having(EVALRUNS, "old", status=status).having(EVALRUNS, "best", status=status)
        api.objects["EvalRun", "x"] = resuming().with_status(status_of_run).manifest() | {}
        api.objects["EvalRun", "x"]["metadata"]["name"] = "x"
        observer = Observer(api, OneReadyDriver(SETTINGS), nobody_answers, lambda: NOON)  # type: ignore[arg-type]
        found = asyncio.run(observer.observe(Key("team", "x")))
        assert found is not None
        return found[0].references

    unrecorded = seen(None)
    assert unrecorded is not None and set(unrecorded.runs) == {"old", "best"}
    assert seen(EvalRunStatus(phase=Phase.STARTING, attempt=1)) is None


@dataclass(frozen=True, slots=True)
class OneReadyDriver(JobsBackend):
    """A backend that observes one ready driver."""

    def attempts(self, objects: object) -> dict[int, Attempt]:
        return {1: Attempt(ObservedDriver(DriverPhase.READY), created_at=NOON)}
