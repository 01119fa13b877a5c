"""Namespaces that are gone, and names from outside: what they stop, and where they lead."""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
import yaml
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kubernetes.aio.client import Configuration

from evalrun_api import EvalRunStatus, Phase
from evalrun_operator.kube.client import path_of
from evalrun_operator.kube.connection import NotNow, login
from evalrun_operator.kube.errors import ApiError, Forbidden, NoCluster, NotFound, OperatorError
from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS, Kind
from evalrun_operator.kube.workqueue import WorkQueue
from evalrun_operator.metrics.calls import ApiCallMetrics
from evalrun_operator.metrics.operator import OperatorMetrics, ReconcileMetrics
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import Reconciler
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.watch.deliveries import Deliveries
from evalrun_operator.watch.events import EventHandler, Owners, key_of
from evalrun_operator.watch.health import Health
from evalrun_operator.watch.namespaces import RefusedNamespaces
from evalrun_operator.watch.resync import Resync
from support import virtual_time
from support.evalruns import NOON, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import backend

SETTINGS = OperatorSettings()
WORDS = 'evalruns is forbidden: User "system:serviceaccount:evalrun-system:evalrun-operator" cannot list it in "b"'


# A namespace that is gone -------------------------------------------------------------------------------------------


@dataclass
class Cluster:
    """A cluster of two namespaces, of which some refuse; its watches deliver what is changed."""

    errors: dict[str, ApiError] = field(default_factory=dict)
    handler: EventHandler | None = None
    objects: dict[tuple[Kind, str, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    version: int = 0

    async def list_metadata(
        self, kind: Kind, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        self.asked.append(f"{kind.plural} {namespace}")
        if error := self.errors.get(namespace or ""):
            raise error
        for (other, place, _), metadata in list(self.objects.items()):
            if (other, place) == (kind, namespace):
                yield {"metadata": dict(metadata)}

    def change(self, kind: Kind, namespace: str, name: str, *, heard: bool = True) -> None:
        self.version += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"u-{namespace}-{name}",
            "resourceVersion": str(self.version),
            "generation": self.version,
        }
        self.objects[kind, namespace, name] = metadata
        if heard and self.handler is not None:
            self.handler.handle(kind, {"type": "MODIFIED", "object": {"metadata": metadata}})


@dataclass
class Scene:
    cluster: Cluster
    resync: Resync
    health: Health
    refused: RefusedNamespaces
    changed: list[Key]

    async def readyz(self) -> tuple[int, str]:
        answer = await self.health.readyz(web.Request)  # type: ignore[arg-type]
        return answer.status, answer.text or ""


def play(story: Callable[[Scene], Awaitable[None]], namespaces: tuple[str, ...] = ("a", "b")) -> None:
    """Play a story with a resync each minute, in virtual time."""

    async def run() -> None:
        cluster, deliveries, owners, refused = Cluster(), Deliveries(), Owners(), RefusedNamespaces()
        changed: list[Key] = []
        cluster.handler = EventHandler(changed.append, deliveries, owners=owners, namespaced=True)
        kinds = (EVALRUNS, JOBS, PODS)
        resync = Resync(cluster, changed.append, deliveries, kinds, namespaces, 60.0, owners, refused)  # type: ignore[arg-type]
        task = asyncio.create_task(resync.run())
        try:
            await story(Scene(cluster, resync, Health(WorkQueue(), resync), refused, changed))
        finally:
            task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(end, Exception):
            raise end

    virtual_time.run(run())


@pytest.mark.parametrize("error", [Forbidden("list", WORDS, status=403), NotFound("list", WORDS, status=404)])
def test_c33_one_namespace_gone_stops_only_itself(error: ApiError) -> None:
    async def story(scene: Scene) -> None:
        scene.cluster.errors["b"] = error
        scene.cluster.change(EVALRUNS, "a", "x", heard=False)
        await asyncio.sleep(1)
        assert scene.changed == [Key("a", "x")] and scene.resync.ready
        assert await scene.readyz() == (200, f"ok\nnamespace b is refused: {WORDS}\n")
        scene.cluster.change(EVALRUNS, "a", "y", heard=False)
        await asyncio.sleep(600)
        assert Key("a", "y") in scene.changed
        assert list(scene.health.problems()) == [
            "the watch of evalruns in namespace a is silent: 2 changes were not delivered"
        ]

    play(story)


def test_runs_of_a_namespace_that_answers_again_are_all_looked_at() -> None:
    async def story(scene: Scene) -> None:
        for namespace in ("a", "b"):
            scene.cluster.change(EVALRUNS, namespace, "x")
            scene.cluster.change(PODS, namespace, "p")
        await asyncio.sleep(1)
        scene.cluster.errors["b"] = Forbidden("list", WORDS, status=403)
        await asyncio.sleep(600)
        assert scene.refused.has_unreadable_runs("b") and not scene.refused.is_refused("a")
        scene.changed.clear()
        scene.cluster.errors.clear()
        await asyncio.sleep(60)
        assert scene.changed == [Key("b", "x")], "though nothing of it changed"
        assert await scene.readyz() == (200, "ok\n")
        await asyncio.sleep(600)
        assert list(scene.health.problems()) == [], "what was delivered before is still known"

    play(story)


def test_watch_that_is_refused_in_one_namespace_is_not_a_silent_one() -> None:
    async def story(scene: Scene) -> None:
        scene.cluster.change(EVALRUNS, "b", "x")
        await asyncio.sleep(61)
        scene.refused.watched("b", "evalruns", WORDS)
        scene.cluster.change(EVALRUNS, "b", "x", heard=False)
        scene.changed.clear()
        await asyncio.sleep(300)
        assert Key("b", "x") in scene.changed, "lists find it"
        assert not scene.refused.has_unreadable_runs("b") and list(scene.health.problems()) == []
        assert scene.resync.watch_age(EVALRUNS) <= 61
        assert "namespace b is refused" in (await scene.readyz())[1]
        metrics = OperatorMetrics(WorkQueue(), ReconcileMetrics(), ApiCallMetrics(), scene.resync)
        counted = {family.name: family.samples[0].value for family in metrics.families() if family.samples}
        assert counted["evalrun_operator_namespaces_refused"] == 1
        scene.refused.watched("b", "evalruns", None)
        assert await scene.readyz() == (200, "ok\n")

    play(story)


def test_operator_whose_every_namespace_refuses_is_failing() -> None:
    async def story(scene: Scene) -> None:
        scene.cluster.errors |= {name: Forbidden("list", WORDS, status=403) for name in ("a", "b")}
        await asyncio.sleep(300)
        assert not scene.resync.ready
        assert [problem for problem in scene.health.problems() if "refused the resync" in problem]
        scene.cluster.errors |= {name: NotFound("list", "no such resource", status=404) for name in ("a", "b")}
        await asyncio.sleep(61)

    with pytest.raises(NoCluster, match="install the chart's CRDs"):
        play(story)


def test_runs_that_cannot_be_read_are_forgotten_without_a_call() -> None:
    api, refused = FakeApi(), RefusedNamespaces()
    manifest = make_run("x").manifest()
    manifest["metadata"]["resourceVersion"] = "7"
    api.objects["EvalRun", "x"] = manifest

    async def silent(_: str) -> None:
        return None

    async def look() -> float | None:
        observer = Observer(api, backend(), silent, lambda: NOON)  # type: ignore[arg-type]
        runs = ObservedRuns(SETTINGS.metrics)
        reconciler = Reconciler(
            api,  # type: ignore[arg-type]
            backend(),
            observer,
            SETTINGS,
            lambda: NOON,
            runs,
            refused.has_unreadable_runs,
        )
        return await reconciler.reconcile(Key("team", "x"))

    refused.listed("team", "pods", WORDS)
    assert asyncio.run(look()) is None and api.read == [] == api.log
    refused.listed("team", "pods", None)
    assert asyncio.run(look()) is not None


# The session of the watches -------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "status", "heard"),
    [
        ("/api/v1/namespaces/b/pods", 200, [("b", "pods", None)]),
        ("/api/v1/namespaces/b/pods", 403, [("b", "pods", WORDS)]),
        ("/apis/evalrun.dev/v1alpha1/namespaces/b/evalruns", 404, [("b", "evalruns", WORDS)]),
        ("/api/v1/namespaces/b/pods", 401, []),
        ("/apis", 401, []),
        ("/api/v1/namespaces/b/pods", 503, []),
        ("/api/v1/pods", 403, []),
    ],
)
def test_c02_refused_watches_are_tried_again_for_as_long_as_it_takes(
    path: str, status: int, heard: list[tuple[str, str, str | None]]
) -> None:
    tokens: list[str | None] = []
    told: list[tuple[str, str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        return web.json_response({"kind": "Status", "message": WORDS}, status=status)

    async def ask() -> None:
        async with serving(answer) as url:
            found = Configuration(host=url)
            found.api_key["BearerToken"] = "bearer first"
            info = await login(found, lambda *one: told.append(one))
            async with info.aiohttp_session as session:
                if status == 401 or (heard and heard[0][2] is not None):
                    # kopf takes it for a lost connection: it ends for nothing else less.
                    with pytest.raises(aiohttp.ClientConnectionError, match=WORDS[:40]):
                        await session.request("GET", url + path)
                    with pytest.raises(NotNow):
                        await session.request("GET", url + path)
                else:
                    async with await session.request("GET", url + path) as response:
                        assert response.status == status
                    found.api_key["BearerToken"] = "bearer second"
                    (await session.request("GET", url + path)).release()
                    assert tokens == ["Bearer first", "Bearer second"], "a renewed token needs no new session"

    asyncio.run(ask())
    assert told[:1] == heard


# Names from outside ---------------------------------------------------------------------------------------------------


def owned(by: str, name: object, uid: str = "u", **more: Any) -> dict[str, Any]:
    version = {"EvalRun": "evalrun.dev/v1alpha1", "Job": "batch/v1"}.get(by, "v1")
    owner = {"apiVersion": version, "kind": by, "name": name, "uid": uid, "controller": True, **more}
    return {"name": "p", "namespace": "team", "uid": "u-p", "resourceVersion": "1", "ownerReferences": [owner]}


def test_run_of_a_child_is_named_by_its_controller() -> None:
    owners = Owners()
    assert owners.key_of(PODS, owned("Job", "x-a1-driver", "u-job")) is None, "its Job was never seen"
    job = owned("EvalRun", "nightly") | {"uid": "u-job"}
    assert owners.key_of(JOBS, job) == Key("team", "nightly")
    pod = owned("Job", "x-a1-driver", "u-job")
    assert owners.key_of(PODS, pod) == Key("team", "nightly")
    for _ in range(5):
        owners.forget_unused()
        assert owners.key_of(PODS, pod) == Key("team", "nightly"), "a pod of it is still seen"
    for _ in range(3):
        owners.forget_unused()
    assert owners.key_of(PODS, pod) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": None},
        {"ownerReferences": [], "annotations": {"evalrun.dev/run-name": "nightly"}, "labels": {"evalrun.dev/run": "u"}},
        owned("EvalRun", "nightly", controller=False),
        owned("EvalRun", "nightly", apiVersion="other.dev/v1"),
        owned("Run", "nightly"),
        owned("EvalRun", "../../tenant-b/evalruns/nightly"),
        owned("EvalRun", ".."),
        owned("EvalRun", None),
        owned("EvalRun", 7),
        owned("Job", "nightly"),
    ],
)
def test_object_without_a_run_for_its_controller_belongs_to_none(metadata: dict[str, Any]) -> None:
    assert key_of(PODS, {"name": "p", "namespace": "team"} | metadata) is None


def test_pod_that_is_seen_before_its_job_is_read_when_the_job_is() -> None:
    """Watches do not wait for one another: what the pod said first was not learned."""
    changed: list[Key] = []
    missed: list[Key] = []
    handler = EventHandler(changed.append, Deliveries(), missed=missed.append)

    def event(kind: Kind, metadata: dict[str, Any]) -> None:
        handler.handle(kind, {"type": "ADDED", "object": {"metadata": metadata}})

    event(PODS, owned("Job", "x-a1-driver", "u-job"))
    assert changed == missed == []
    job = owned("EvalRun", "nightly") | {"uid": "u-job"}
    event(JOBS, job)
    event(JOBS, job)
    assert (missed, changed) == ([Key("team", "nightly")], [Key("team", "nightly")]), "once"


def test_pod_belongs_to_no_run_of_another_namespace() -> None:
    jobs = {"u-job": Key("tenant-b", "nightly")}
    assert key_of(PODS, owned("Job", "x", "u-job"), jobs) is None


VICTIM = make_run("nightly").with_status(EvalRunStatus(phase=Phase.RUNNING, attempt=1)).manifest()
VICTIM["metadata"] |= {"namespace": "tenant-b", "resourceVersion": "7"}


@dataclass
class TwoTenants(FakeApi):
    """An API server that records the path of each call, and answers every path that leads to the victim with it."""

    paths: list[str] = field(default_factory=list)

    def _get(self, verb: str, kind: Kind, name: str) -> dict[str, Any]:
        return self.objects.get((kind.kind, name)) or VICTIM

    def called(self, kind: Kind, namespace: str | None, name: str | None) -> None:
        self.paths.append(path_of(kind, namespace, name))

    def list_objects(self, kind: Kind, namespace: str | None, selector: str = "") -> Any:
        self.called(kind, namespace, None)
        return super().list_objects(kind, namespace, selector)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        self.called(kind, namespace, name)
        return await super().get(kind, namespace, name)

    async def get_metadata(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        self.called(kind, namespace, name)
        return await super().get_metadata(kind, namespace, name)

    async def create(self, kind: Kind, namespace: str, manifest: Any, *, dry_run: bool = False) -> dict[str, Any]:
        self.called(kind, namespace, manifest["metadata"]["name"])
        return await super().create(kind, namespace, manifest, dry_run=dry_run)

    async def apply_status(self, kind: Kind, namespace: str, name: str, uid: str, body: Any) -> dict[str, Any]:
        self.called(kind, namespace, name)
        return await super().apply_status(kind, namespace, name, uid, body)

    async def patch(self, kind: Kind, namespace: str, name: str, uid: str, body: Any) -> dict[str, Any]:
        self.called(kind, namespace, name)
        return await super().patch(kind, namespace, name, uid, body)

    async def delete(self, kind: Kind, namespace: str, name: str, *rest: Any, **more: Any) -> None:
        self.called(kind, namespace, name)
        await super().delete(kind, namespace, name, *rest, **more)


def resolved(path: str) -> str:
    """Return the folder that the most forgiving server or proxy would make of a path: one that decodes it twice."""
    return posixpath.normpath(unquote(path))


_NAMES = st.sampled_from(
    [
        "../../tenant-b/evalruns/nightly",
        "..%2F..%2Ftenant-b%2Fevalruns%2Fnightly",
        "..",
        ".",
        "",
        "nightly",
        "nightly?namespace=tenant-b",
        "nightly#",
        "tenant-b/nightly",
        "x\n",
        "ü",
        "NIGHTLY",
    ]
) | st.text(max_size=40)
_VALUES = _NAMES | st.integers() | st.none() | st.lists(_NAMES, max_size=2)
_OWNERS = st.fixed_dictionaries(
    {
        "apiVersion": st.sampled_from(["evalrun.dev/v1alpha1", "batch/v1", "v1"]),
        "kind": st.sampled_from(["EvalRun", "Job", "Pod"]),
        "name": _VALUES,
        "uid": _NAMES | st.just("u-job"),
    },
    optional={"controller": st.booleans()},
)
_METADATA = st.fixed_dictionaries(
    {
        "name": _NAMES,
        "namespace": st.just("tenant-a"),
        "uid": st.sampled_from(["u-job", "u-pod", "u-run"]),
        "resourceVersion": st.just("1"),
    },
    optional={
        "labels": st.dictionaries(st.sampled_from(["evalrun.dev/run", "evalrun.dev/attempt", "app"]), _VALUES),
        "annotations": st.dictionaries(st.sampled_from(["evalrun.dev/run-name", "evalrun.dev/run", "a"]), _VALUES),
        "ownerReferences": st.lists(_OWNERS, max_size=3),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from([EVALRUNS, JOBS, PODS]), _METADATA), min_size=1, max_size=4))
@example(
    [
        (
            PODS,
            {
                "name": "innocent",
                "namespace": "tenant-a",
                "uid": "p",
                "resourceVersion": "1",
                "labels": {"evalrun.dev/run": "x"},
                "annotations": {"evalrun.dev/run-name": "../../tenant-b/evalruns/nightly"},
            },
        )
    ]
)
def test_c22_no_annotation_label_or_name_makes_a_request_outside_its_namespace(
    events: list[tuple[Kind, dict[str, Any]]],
) -> None:
    keys: list[Key] = []
    handler = EventHandler(keys.append, Deliveries())
    api = TwoTenants()

    async def silent(_: str) -> None:
        return None

    async def story() -> None:
        for kind, metadata in events:
            handler.handle(kind, {"type": "MODIFIED", "object": {"metadata": metadata}})
        for key in keys:
            observer = Observer(api, backend(), silent, lambda: NOON)  # type: ignore[arg-type]
            runs = ObservedRuns(SETTINGS.metrics)
            try:
                await Reconciler(api, backend(), observer, SETTINGS, lambda: NOON, runs).reconcile(key)  # type: ignore[arg-type]
            except OperatorError:
                continue

    asyncio.run(story())
    for path in api.paths:
        assert "/namespaces/tenant-a/" in f"{resolved(path)}/" and "tenant-b" not in resolved(path).split("/"), path
    assert not api.log, "the victim is not written"


# The whole operator -------------------------------------------------------------------------------------------------

GROUPS = {
    "/api/v1": ("v1", {"pods": "Pod"}),
    "/apis/batch/v1": ("batch/v1", {"jobs": "Job"}),
    "/apis/evalrun.dev/v1alpha1": ("evalrun.dev/v1alpha1", {"evalruns": "EvalRun"}),
}
BAIT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "innocent",
        "namespace": "a",
        "uid": "p",
        "resourceVersion": "3",
        "labels": {
            "app.kubernetes.io/name": "evalrun",
            "app.kubernetes.io/managed-by": "evalrun-operator",
            "evalrun.dev/run": "x",
        },
        "annotations": {"evalrun.dev/run-name": "../../tenant-b/evalruns/nightly"},
        "ownerReferences": [
            {
                "apiVersion": "evalrun.dev/v1alpha1",
                "kind": "EvalRun",
                "name": "../../tenant-b/evalruns/nightly",
                "uid": "x",
                "controller": True,
            }
        ],
    },
}


@dataclass
class ApiServer:
    """An API server with a run and a pod in namespace a, and a namespace b that refuses everything."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    unauthorized: int = 2
    """Calls that are refused as an API server does for a moment while it starts."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path, kinds = request.path, {name: kind for _, each in GROUPS.values() for name, kind in each.items()}
        self.asked.append((request.method, path))
        if "/namespaces/" in path and self.unauthorized:
            self.unauthorized -= 1
            return _status(401, "Unauthorized")
        if "/namespaces/b/" in path:
            return _status(403, WORDS)
        if path == "/api":
            return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            return web.json_response(
                {"kind": "APIGroupList", "groups": [_group(one) for one in GROUPS if "apis" in one]}
            )
        if path in GROUPS:
            return web.json_response(_resources(*GROUPS[path]))
        if request.query.get("watch"):
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.Event().wait()
        plural = path.rsplit("/", 1)[1]
        if plural in kinds and request.method == "GET":
            run = make_run("x").manifest()
            run["metadata"] |= {"namespace": "a", "resourceVersion": "7"}
            items = {"evalruns": [run], "pods": [BAIT]}.get(plural, [])
            return web.json_response(
                {"kind": f"{kinds[plural]}List", "metadata": {"resourceVersion": "9"}, "items": items}
            )
        if path.endswith("/namespaces/a/evalruns/x"):
            run = make_run("x").manifest()
            run["metadata"] |= {"namespace": "a", "resourceVersion": "7"}
            return web.json_response(run)
        return (
            web.json_response(json.loads(await request.read() or b"{}"))
            if request.method != "GET"
            else _status(404, "-")
        )


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


def _group(path: str) -> dict[str, Any]:
    _, _, name, version = path.split("/")
    both = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [both], "preferredVersion": both}


def _resources(version: str, kinds: dict[str, str]) -> dict[str, Any]:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    each = [
        {"name": name, "singularName": name[:-1], "namespaced": True, "kind": kind, "verbs": verbs}
        for name, kind in kinds.items()
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": each}


def test_c37_whole_operator_works_in_one_namespace_while_another_refuses(tmp_path: Path) -> None:
    """And a moment's 401 ends neither its watches nor it; a pod with the name of another tenant's run leads nowhere."""
    server = ApiServer()

    async def story() -> tuple[int | None, str]:
        async with serving(server.answer) as url:
            operator = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "evalrun_operator", env=environment(tmp_path, url), stderr=asyncio.subprocess.PIPE
            )
            assert operator.stderr is not None
            log = asyncio.create_task(operator.stderr.read())
            try:
                async with asyncio.timeout(300):
                    await reached(lambda: ("POST", "/apis/batch/v1/namespaces/a/jobs") in server.asked)
                    await reached(lambda: sum("/b/" in path for _, path in server.asked) > 6)
                    await reached(lambda: sum(path.endswith("/a/pods") for _, path in server.asked) > 4)
                assert operator.returncode is None
                operator.send_signal(signal.SIGTERM)
                async with asyncio.timeout(120):
                    await operator.wait()
            finally:
                if operator.returncode is None:
                    operator.kill()
            return operator.returncode, (await log).decode()

    code, log = asyncio.run(story())
    assert code == 0, log
    assert "namespace b is refused" in log
    assert not [path for _, path in server.asked if "tenant-b" in path]
    assert {method for method, path in server.asked if "/b/" in path} == {"GET"}


async def reached(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)


def environment(folder: Path, url: str) -> dict[str, str]:
    """Write settings and kubeconfig; return the environment of an operator that reads them."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    given = {"healthPort": 0, "metricsPort": 0, "resyncSeconds": 1, "watch": {"namespaces": ["a", "b"]}}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    (folder / "settings.yaml").write_text(yaml.safe_dump(given))
    files = {"KUBECONFIG": str(folder / "kubeconfig"), "EVALRUN_SETTINGS": str(folder / "settings.yaml")}
    return {**os.environ, **files}
