"""What is read of a run, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from evalrun_api import EvalRun, EvalRunStatus, Phase, Reason, RunLocation, RunProgress
from evalrun_operator.backend.children import parse
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.errors import Forbidden, Unavailable, UnreadableStatus
from evalrun_operator.kube.objects import (
    CLAIMS,
    CONFIG_MAPS,
    EVALRUNS,
    JOBS,
    NODES,
    PODS,
    SECRETS,
    Change,
    Kind,
    Manifest,
)
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.children import Job, Pod
from evalrun_operator.state.explanations import Waiting
from evalrun_operator.state.observed import Attempt, DriverPhase, Missing, Observed, ObservedDriver, References
from support.evalruns import NOON, Builder, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import job, pod

KEY = Key("team", "x")
ALLOWED = {"labels": {"evalrun.dev/use": "storage"}}
ANSWER = RunProgress(phase=Phase.RUNNING)


@dataclass
class OneDriver:
    """A backend that observes one driver, or none."""

    driver: ObservedDriver | None = None
    refused: tuple[Missing, ...] = ()
    kinds: tuple[Kind, ...] = (JOBS, PODS)

    def parse(self, kind: Kind, manifest: Manifest) -> Job | Pod | None:
        return parse(kind, manifest)

    def companions(self, run: EvalRun, attempt: int) -> tuple[tuple[Kind, Manifest], ...]:
        return ()

    def problems(self, run: EvalRun, references: References | None = None) -> tuple[Missing, ...]:
        return self.refused

    def attempts(self, objects: Objects) -> Mapping[int, Attempt]:
        return {} if self.driver is None else {1: Attempt(self.driver)}

    def waiting(self, objects: Objects) -> tuple[Waiting, ...]:
        return ()

    def changes(self, *_: object) -> tuple[Change, ...]:
        return ()

    def repairs(self, objects: Objects, now: datetime) -> tuple[Change, ...]:
        return ()


@dataclass
class Look:
    """One observation of a run, with its result."""

    api: FakeApi = field(default_factory=FakeApi)
    backend: OneDriver = field(default_factory=OneDriver)
    asked: list[str] = field(default_factory=list)

    def at(self, run: Builder | None) -> tuple[Observed, Objects] | None:
        if run is not None:
            self.api.objects["EvalRun", "x"] = run.manifest()
        return asyncio.run(self.observer().observe(KEY))

    def saw(self, run: Builder) -> Observed:
        seen = self.at(run)
        assert seen is not None
        return seen[0]

    def observer(self) -> Observer:
        async def ask(address: str) -> RunProgress | None:
            self.asked.append(address)
            return ANSWER

        return Observer(self.api, self.backend, ask, lambda: NOON)  # type: ignore[arg-type]


def run() -> Builder:
    return make_run("x")


def problems(look: Look, **spec: Any) -> list[tuple[str, Reason]]:
    references = look.saw(run().with_spec(**spec)).references
    assert references is not None
    return [(one.field, one.reason) for one in references.problems]


@pytest.mark.parametrize("other", [{"namespace": "tenant-b"}, {"name": "y"}, {"namespace": None}])
def test_body_of_another_object_is_dropped_unread(other: dict[str, str | None]) -> None:
    look = Look()
    manifest = run().manifest()
    look.api.objects["EvalRun", "x"] = {**manifest, "metadata": manifest["metadata"] | other}
    assert look.at(None) is None
    assert look.api.read == ["get EvalRun x"]


def test_deleted_run_is_ignored() -> None:
    assert Look().at(None) is None
    look = Look()
    manifest = run().manifest()
    manifest["metadata"]["deletionTimestamp"] = NOON.isoformat()
    look.api.objects["EvalRun", "x"] = manifest
    assert asyncio.run(look.observer().observe(KEY)) is None
    assert look.api.read == ["get EvalRun x"]


def test_children_are_selected_by_the_runs_uid() -> None:
    look = Look()
    observed = look.saw(run())
    uid = observed.run.metadata.uid
    assert {f"list {kind} team evalrun.dev/run={uid}" for kind in ("Job", "Pod")} <= set(look.api.read)


def lists(look: Look) -> int:
    return sum(one.startswith("list") for one in look.api.read)


def test_children_are_reread_only_when_they_may_have_changed() -> None:
    look = Look()
    look.api.objects["EvalRun", "x"] = run().manifest()

    async def scene() -> None:
        observer = look.observer()
        for _ in range(3):
            await observer.observe(KEY)
        assert (lists(look), look.api.read.count("get EvalRun x")) == (2, 3), "Jobs and Pods, once"
        observer.forget(KEY)
        await observer.observe(KEY)
        assert lists(look) == 4
        look.api.objects["EvalRun", "x"]["metadata"]["uid"] = "another of its name"
        await observer.observe(KEY)
        assert lists(look) == 6

    asyncio.run(scene())


def reconciled(
    look: Look, of: dict[str, Any], *, status: EvalRunStatus | None = None, pods: Iterable[dict[str, Any]] = ()
) -> Observer:
    """Observe a run with this Job and these pods."""
    look.api.objects["EvalRun", "x"] = run().with_status(status).manifest()
    for number, one in enumerate(pods):
        look.api.objects["Pod", f"p{number}"] = at(one, "5")
    look.api.objects["Job", "j"] = at(of, "5")
    observer = look.observer()
    asyncio.run(observer.observe(KEY))
    return observer


def at(manifest: dict[str, Any], version: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}


def known(observer: Observer) -> dict[str, str]:
    """Return the phases of the pods that are known, by name, read from no list."""
    seen = asyncio.run(observer.observe(KEY))
    assert seen is not None
    return {pod.name: pod.phase for pods in seen[1].children.pods.values() for pod in pods}


def test_child_is_learned_from_its_event_without_a_list() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job()
    observer = reconciled(look, of)
    assert not observer.learn(KEY, JOBS, at(of, "6")), "nothing that counts has changed"
    assert not observer.learn(KEY, PODS, at(pod(of, "Pending", node=""), "7")), "a driver waits, as before"
    assert observer.learn(KEY, PODS, at(pod(of, "Running", true=["Ready"]), "8")), "it is ready"
    assert known(observer) == {"nightly-a1-driver-0-abcde": "Running"}
    assert lists(look) == 2


def test_children_are_read_again_where_one_of_them_ends() -> None:
    """The end of a Job may be heard before that of its pod, whose last words decide."""
    of = job()
    ended = job(conditions=[("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy")])
    for kind, manifest, deleted in (
        (JOBS, ended, False),
        (JOBS, of, True),
        (PODS, pod(of, "Succeeded", exit_code=0), False),
        (PODS, pod(of, "Running", deleted="2026-01-01T12:00:00Z"), False),
    ):
        look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
        observer = reconciled(look, of)
        assert observer.learn(KEY, kind, at(manifest, "9"), deleted=deleted)
        known(observer)
        assert lists(look) == 4


def test_child_that_is_heard_of_while_the_children_are_read_is_known_afterwards() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job()
    observer, read = look.observer(), look.api.list_objects
    look.api.objects["EvalRun", "x"] = run().manifest()
    look.api.objects["Job", "j"] = at(of, "5")

    async def interrupted(kind: Kind, *arguments: Any) -> AsyncIterator[dict[str, Any]]:
        async for one in read(kind, *arguments):
            yield one
        if kind is PODS:
            assert observer.learn(KEY, PODS, at(pod(of, "Running"), "7"))

    look.api.list_objects = interrupted  # type: ignore[assignment, method-assign]
    for _ in range(2):
        assert known(observer) == {"nightly-a1-driver-0-abcde": "Running"}
    assert lists(look) == 2


def test_older_version_of_a_child_does_not_replace_a_newer_one() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job()
    observer = reconciled(look, of)
    assert observer.learn(KEY, PODS, at(pod(of, "Running"), "100"))
    assert not observer.learn(KEY, PODS, at(pod(of, "Pending"), "99"))
    assert known(observer) == {"nightly-a1-driver-0-abcde": "Running"} and lists(look) == 2


def test_versions_that_cannot_be_compared_are_read_again() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job()
    observer = reconciled(look, of)
    assert observer.learn(KEY, JOBS, at(of, "v6"))
    known(observer)
    assert lists(look) == 4


def test_child_of_another_run_of_the_name_is_news_and_not_kept() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job()
    observer = reconciled(look, of)
    stranger = pod(of, "Running")
    stranger["metadata"]["labels"] = {**of["metadata"]["labels"], "evalrun.dev/run": "another"}
    assert observer.learn(KEY, PODS, at(stranger, "9"))
    assert known(observer) == {} and lists(look) == 2


def test_change_of_a_pod_that_may_need_a_repair_is_news() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job("replica")
    observer = reconciled(look, of)
    leaving = pod(of, "Running", deleted="2026-01-01T12:00:00Z")
    assert observer.learn(KEY, PODS, at(leaving, "6"))
    assert observer.learn(KEY, PODS, at({**leaving, "status": {"phase": "Failed"}}, "7"))


def test_change_during_a_read_invalidates_it() -> None:
    look = Look()
    look.api.objects["EvalRun", "x"] = run().manifest()
    observer = look.observer()
    read = look.api.list_objects

    async def interrupted(*arguments: Any) -> AsyncIterator[dict[str, Any]]:
        observer.forget(KEY)
        async for one in read(*arguments):
            yield one

    look.api.list_objects = interrupted  # type: ignore[assignment, method-assign]

    async def twice() -> None:
        await observer.observe(KEY)
        await observer.observe(KEY)

    asyncio.run(twice())
    assert lists(look) == 4


def test_children_of_finished_runs_are_not_cached() -> None:
    look = Look()
    look.api.objects["EvalRun", "x"] = run().with_status(EvalRunStatus(phase=Phase.SUCCEEDED)).manifest()

    async def twice() -> None:
        observer = look.observer()
        await observer.observe(KEY)
        await observer.observe(KEY)

    asyncio.run(twice())
    assert lists(look) == 4


def test_children_of_a_finished_run_are_kept_while_they_run() -> None:
    look = Look(backend=JobsBackend(OperatorSettings()))  # type: ignore[arg-type]
    of = job("replica")
    observer = reconciled(look, of, status=EvalRunStatus(phase=Phase.SUCCEEDED), pods=[pod(of, "Running")])
    observer.settle(KEY)
    known(observer)
    assert lists(look) == 2
    assert observer.learn(KEY, PODS, at(pod(of, "Succeeded", exit_code=0), "6"))
    observer.settle(KEY)
    known(observer)
    assert lists(look) == 4, "they have ended, and are known no more"


def test_only_a_ready_driver_is_asked_for_progress() -> None:
    ready = Look(backend=OneDriver(ObservedDriver(DriverPhase.READY, address="10.0.0.5")))
    assert ready.saw(run()).progress is ANSWER and ready.asked == ["10.0.0.5"]
    for phase in set(DriverPhase) - {DriverPhase.READY}:
        look = Look(backend=OneDriver(ObservedDriver(phase, address="10.0.0.5")))
        assert look.saw(run()).progress is None and not look.asked


def test_references_are_looked_up_only_before_an_attempt() -> None:
    spec = {"output": {"uri": "s3://evals/", "storage": {"credentialsSecretRef": {"name": "keys"}}}}
    named = run().with_spec(**spec)
    for driver, builder, expected in (
        (None, named, True),
        (ObservedDriver(DriverPhase.FAILED), named, True),
        (ObservedDriver(DriverPhase.READY), named, False),
        (None, run().with_spec(**spec).suspended(), False),
        (None, run().with_spec(**spec).with_status(EvalRunStatus(phase=Phase.FAILED)), False),
    ):
        look = Look(FakeApi().having(SECRETS, "keys", metadata=ALLOWED), OneDriver(driver))
        assert (look.saw(builder).references is not None) is expected
        assert ("metadata Secret keys" in look.api.read) is expected


def test_spec_problems_are_found_before_references_are_looked_up() -> None:
    refused = Missing("spec.replicas.resources", Reason.INVALID_SPEC, "a limit below its request")
    look = Look(backend=OneDriver(refused=(refused,)))
    references = look.saw(run().with_spec(resumeFrom={"runName": "old"})).references
    assert references is not None and references.problems == (refused,)
    assert "get EvalRun old" not in look.api.read


def test_secret_needs_the_storage_label() -> None:
    spec = {"output": {"uri": "s3://evals/", "storage": {"credentialsSecretRef": {"name": "keys"}}}}
    where = "spec.output.storage.credentialsSecretRef.name"
    assert problems(Look(), **spec) == [(where, Reason.NOT_FOUND)]
    assert problems(Look(FakeApi().having(SECRETS, "keys")), **spec) == [(where, Reason.SECRET_NOT_ALLOWED)]
    assert problems(Look(FakeApi().having(SECRETS, "keys", metadata=ALLOWED)), **spec) == []
    forbidden = FakeApi().failing("metadata", SECRETS, Forbidden("get", "no", status=403))
    references = Look(forbidden).saw(run().with_spec(**spec)).references
    assert references is not None
    assert references.problems[0].reason is Reason.FORBIDDEN
    assert "bind the ClusterRole evalrun-secret-reader there" in references.problems[0].message


def test_missing_key_suite_and_claim_are_reported() -> None:
    spec = {
        "model": {"uri": "pvc://models/tiny"},
        "benchmarks": [{"task": "mine", "source": {"configMap": {"name": "suite"}}}],
        "output": {"uri": "s3://evals/", "storage": {"caBundleRef": {"name": "ca", "key": "ca.crt"}}},
    }
    allowed = {"metadata": ALLOWED}
    all_there = FakeApi().having(CONFIG_MAPS, "suite", **allowed).having(CLAIMS, "models", **allowed)
    assert problems(Look(all_there.having(CONFIG_MAPS, "ca", data={"ca.crt": "PEM"}, **allowed)), **spec) == []
    where = "spec.output.storage.caBundleRef.name"
    assert problems(Look(all_there.having(CONFIG_MAPS, "ca", data={"other": ""}, **allowed)), **spec) == [
        (where, Reason.NOT_FOUND)
    ]
    assert [field for field, _ in problems(Look(), **spec)] == [
        "spec.model.uri",
        "spec.benchmarks[0].source.configMap.name",
        where,
    ]


@pytest.mark.parametrize("labels", [{}, {"evalrun.dev/use": "other"}, {"evalrun.dev/used": "storage"}])
def test_c15_config_maps_and_claims_opt_in_as_secrets_do(labels: dict[str, str]) -> None:
    spec = {
        "model": {"uri": "hf://org/tiny", "cache": {"persistentVolumeClaim": {"claimName": "postgres-data"}}},
        "benchmarks": [
            {"task": "mine", "source": {"configMap": {"name": "settings"}}},
            {"task": "other", "source": {"pvc": {"claimName": "postgres-data"}}},
        ],
        "output": {"uri": "s3://evals/", "storage": {"caBundleRef": {"name": "settings", "key": "ca.crt"}}},
    }
    api = FakeApi().having(CLAIMS, "postgres-data", metadata={"labels": labels})
    api.having(CONFIG_MAPS, "settings", data={"ca.crt": "PEM"}, metadata={"labels": labels})
    references = Look(api).saw(run().with_spec(**spec)).references
    assert references is not None
    assert {problem.reason for problem in references.problems} == {Reason.NOT_ALLOWED}
    said = " ".join(problem.message for problem in references.problems)
    assert "kubectl label configmap settings evalrun.dev/use=storage -n team" in said
    assert "kubectl label persistentvolumeclaim postgres-data evalrun.dev/use=storage -n team" in said


def finished(phase: Phase, uri: str | None = "s3://evals/old/") -> FakeApi:
    status = {"phase": phase.value} | ({"resultsUri": uri} if uri else {})
    return FakeApi().having(EVALRUNS, "old", status=status)


def test_baseline_run_must_have_succeeded_and_resumed_run_ended() -> None:
    gate = {"task": "gsm8k", "metric": "exact_match", "maxRegression": 0.01, "baseline": {"runName": "old"}}
    compare, resume = {"gates": [gate]}, {"resumeFrom": {"runName": "old"}}
    found = Look(finished(Phase.SUCCEEDED)).saw(run().with_spec(**compare)).references
    assert found is not None and found.runs == {"old": RunLocation(uri="s3://evals/old/")}
    assert problems(Look(finished(Phase.FAILED)), **resume) == []
    baseline = "spec.gates[0].baseline.runName"
    assert problems(Look(finished(Phase.FAILED)), **compare) == [(baseline, Reason.NOT_FOUND)]
    assert problems(Look(finished(Phase.RUNNING)), **resume) == [("spec.resumeFrom.runName", Reason.NOT_FOUND)]
    assert problems(Look(finished(Phase.SUCCEEDED, None)), **compare) == [(baseline, Reason.NOT_FOUND)]
    assert problems(Look(), **compare) == [(baseline, Reason.NOT_FOUND)]


def test_failing_api_server_raises() -> None:
    look = Look(FakeApi().failing("list", PODS, Unavailable("list", "etcd is away", status=503)))
    with pytest.raises(Unavailable):
        look.at(run())


def terminating(node: str, deleted: str = "2026-01-01T11:59:00Z") -> FakeApi:
    owner = {"kind": "Job", "uid": "u-job", "controller": True}
    metadata = {"deletionTimestamp": deleted, "ownerReferences": [owner]}
    return FakeApi().having(PODS, "p", metadata=metadata, spec={"nodeName": node})


def lost(look: Look) -> frozenset[str]:
    seen = look.at(run())
    assert seen is not None
    return seen[1].lost_nodes


def test_node_is_read_only_for_an_overdue_pod() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    unknown = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    assert lost(Look(terminating("n"))) == {"n"}, "it is gone"
    assert lost(Look(terminating("n").having(NODES, "n", status=unknown))) == {"n"}
    assert lost(Look(terminating("n").having(NODES, "n", status=ready))) == frozenset()
    look = Look(terminating("n", "2026-01-01T12:00:30Z"))
    assert lost(look) == frozenset() and "get Node n" not in look.api.read


def test_without_permission_no_node_is_lost_and_one_warning_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    look = Look(terminating("n").failing("get", NODES, Forbidden("get", "no", status=403)))
    look.api.objects["EvalRun", "x"] = run().manifest()

    async def twice() -> None:
        observer = look.observer()
        for _ in range(2):
            seen = await observer.observe(KEY)
            assert seen is not None and seen[1].lost_nodes == frozenset()

    asyncio.run(twice())
    assert caplog.text.count("not force-deleted") == 1


def test_invalid_spec_is_observed_with_its_problems_and_model() -> None:
    twice = run().with_spec(benchmarks=[{"task": "gsm8k"}, {"task": "gsm8k"}])
    observed = Look().saw(twice)
    assert observed.invalid is not None and "unique" in observed.invalid.message
    assert observed.run.spec.model.resolved_name == "tiny" and observed.run.metadata.uid == twice.uid
    assert observed.references is None
    local = Look().saw(run().with_spec(output={"uri": "file:///results"}))
    assert local.invalid is not None and "go to S3" in local.invalid.message


def test_unreadable_status_of_a_newer_operator_raises() -> None:
    look = Look()
    manifest = run().manifest() | {"status": {"phase": "Dreaming"}}
    look.api.objects["EvalRun", "x"] = manifest
    with pytest.raises(UnreadableStatus, match="team/x"):
        asyncio.run(look.observer().observe(KEY))


def test_unknown_status_fields_are_ignored() -> None:
    look = Look()
    look.api.objects["EvalRun", "x"] = run().manifest() | {"status": {"phase": "Running", "mood": "good"}}
    seen = asyncio.run(look.observer().observe(KEY))
    assert seen is not None and seen[0].run.status == EvalRunStatus(phase=Phase.RUNNING)
