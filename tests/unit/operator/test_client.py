"""The client against an HTTP server that answers like API servers and the proxies before them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from evalrun_operator.kube import errors
from evalrun_operator.kube.client import REQUEST_SECONDS, Client, path_of
from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS, SECRETS
from evalrun_operator.metrics.calls import ApiCallMetrics


@dataclass
class Server:
    """A server that gives its answers in turn and records the requests."""

    answers: list[web.Response] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    hangs: bool = False

    def will(self, status: int, body: Any = None, **headers: str) -> Server:
        self.answers.append(web.Response(status=status, text=json.dumps(body or {}), headers=headers))
        return self

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.asked.append(
            {
                "method": request.method,
                "path": request.path,
                "raw_path": request.raw_path,
                "query": dict(request.query),
                "body": json.loads(text) if text else None,
                "accept": request.headers["Accept"],
                "content": request.headers["Content-Type"],
                "authorization": request.headers.get("Authorization"),
            }
        )
        if self.hangs:
            await asyncio.sleep(30)
        return self.answers.pop(0)


def talk(
    server: Server,
    conversation: Callable[[Client], Awaitable[Any]],
    calls: ApiCallMetrics | None = None,
    request_seconds: float = REQUEST_SECONDS,
) -> Any:
    async def run() -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        configuration.api_key["BearerToken"] = "bearer of-the-account"
        try:
            on_call = (calls or ApiCallMetrics()).add
            async with Client(configuration, on_call, request_seconds=request_seconds) as client:
                return await conversation(client)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Unavailable),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.ApiError),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
    ],
)
def test_http_errors_become_api_errors(status: int, reason: str, expected: type[errors.ApiError]) -> None:
    server = Server().will(status, {"kind": "Status", "reason": reason, "message": "because"})
    with pytest.raises(expected) as caught:
        talk(server, lambda client: client.get(JOBS, "team", "x"))
    assert type(caught.value) is expected
    assert str(caught.value) == f"get /apis/batch/v1/namespaces/team/jobs/x ({status}): because"


def test_retry_after_is_read_from_header_or_status() -> None:
    for server in (
        Server().will(429, {}, **{"Retry-After": "7"}),
        Server().will(429, {"details": {"retryAfterSeconds": 7}}),
    ):
        with pytest.raises(errors.TooManyRequests) as caught:
            talk(server, lambda client: client.get(JOBS, "team", "x"))
        assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("86400", 60.0), ("inf", 60.0), ("60", 60.0), ("-5", 0.0), ("nan", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_c29_no_server_takes_a_run_out_of_work_for_long(asked: str, waited: float | None, status: int) -> None:
    for server in (
        Server().will(status, {}, **{"Retry-After": asked}),
        Server().will(status, {"details": {"retryAfterSeconds": asked}}),
        Server(answers=[web.Response(status=status, text="<html>maintenance</html>", headers={"Retry-After": asked})]),
    ):
        with pytest.raises(errors.ApiError) as caught:
            talk(server, lambda client: client.get(JOBS, "team", "x"))
        assert caught.value.retry_after == waited


def test_page_of_a_proxy_is_an_error() -> None:
    server = Server(answers=[web.Response(status=502, text="<html>Bad Gateway</html>")])
    with pytest.raises(errors.Unavailable, match="Bad Gateway"):
        talk(server, lambda client: client.get(JOBS, "team", "x"))
    with pytest.raises(errors.Unavailable, match="not JSON"):
        talk(Server(answers=[web.Response(text="<html>")]), lambda client: client.get(JOBS, "team", "x"))
    with pytest.raises(errors.Unavailable, match="not an object"):
        talk(Server().will(200, ["hello"]), lambda client: client.get(JOBS, "team", "x"))


@pytest.mark.parametrize("details", ["token expired", ["token"], 7, None])
def test_words_of_a_proxy_in_the_place_of_details_are_an_error_like_any(details: object) -> None:
    server = Server().will(401, {"message": {"why": "expired"}, "details": details})
    with pytest.raises(errors.Unavailable, match="expired"):
        talk(server, lambda client: client.get(JOBS, "team", "x"))


def test_hanging_server_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable, match=r"no answer in 0\.2 s"):
        talk(Server(hangs=True), lambda client: client.get(JOBS, "team", "x"), request_seconds=0.2)


def test_missing_server_is_unavailable() -> None:
    async def ask() -> None:
        async with Client(Configuration(host="http://127.0.0.1:1")) as client:
            await client.get(JOBS, "team", "x")

    with pytest.raises(errors.Unavailable, match="ClientConnectorError"):
        asyncio.run(ask())


def test_list_is_read_page_by_page() -> None:
    server = Server()
    server.will(200, {"items": [{"a": 1}], "metadata": {"continue": "more"}}).will(200, {"items": [{"a": 2}]})

    async def all_pods(client: Client) -> list[dict[str, Any]]:
        return [one async for one in client.list_objects(PODS, None, "app=x")]

    assert talk(server, all_pods) == [{"a": 1}, {"a": 2}]
    assert [one["query"] for one in server.asked] == [
        {"limit": "100", "labelSelector": "app=x"},
        {"limit": "100", "labelSelector": "app=x", "continue": "more"},
    ]
    assert server.asked[0]["path"] == "/api/v1/pods"


def test_secrets_are_read_as_metadata_only() -> None:
    server = Server().will(200, {"metadata": {}})
    talk(server, lambda client: client.get_metadata(SECRETS, "team", "keys"))
    assert server.asked[0]["accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert server.asked[0]["authorization"] == "bearer of-the-account"


def test_status_is_applied_to_this_object_at_this_version() -> None:
    server = Server().will(200)
    body = {"status": {"phase": "Running"}, "metadata": {"resourceVersion": "5"}}
    talk(server, lambda client: client.apply_status(EVALRUNS, "team", "x", "u-1", body))
    (asked,) = server.asked
    assert (asked["method"], asked["content"]) == ("PATCH", "application/apply-patch+yaml")
    assert asked["path"] == "/apis/evalrun.dev/v1alpha1/namespaces/team/evalruns/x/status"
    assert asked["query"] == {"fieldManager": "evalrun-operator", "force": "true"}
    assert asked["body"] == {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {"name": "x", "namespace": "team", "uid": "u-1", "resourceVersion": "5"},
        "status": {"phase": "Running"},
    }


def test_patch_and_deletion_have_a_uid_precondition() -> None:
    server = Server().will(200).will(200)

    async def both(client: Client) -> None:
        await client.patch(JOBS, "team", "x", "u-1", {"spec": {"parallelism": 3}})
        await client.delete(PODS, "team", "p", "u-2", 0)

    talk(server, both)
    assert server.asked[0]["body"] == {"spec": {"parallelism": 3}, "metadata": {"uid": "u-1"}}
    assert server.asked[0]["content"] == "application/merge-patch+json"
    assert server.asked[1]["body"] == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u-2"},
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 0,
    }


def test_object_with_a_runs_uid_in_its_name_is_deleted_by_its_name() -> None:
    server = Server().will(200)
    talk(server, lambda client: client.delete(SECRETS, "team", "x-0f3c9a52-ray", None))
    (asked,) = server.asked
    assert asked["body"] == {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}


def test_dry_run_asks_whether_an_object_could_be_created() -> None:
    server = Server().will(409, {"reason": "AlreadyExists"})
    with pytest.raises(errors.AlreadyExists):
        talk(server, lambda client: client.create(SECRETS, "team", {"metadata": {"name": "x"}}, dry_run=True))
    (asked,) = server.asked
    assert asked["query"] == {"fieldManager": "evalrun-operator", "dryRun": "All"}


def test_calls_are_counted_by_verb_kind_and_status() -> None:
    server = Server().will(201).will(200).will(404)

    async def some(client: Client) -> None:
        await client.create(JOBS, "team", {"metadata": {"name": "x"}})
        await client.get(JOBS, "team", "x")
        with pytest.raises(errors.NotFound):
            await client.get(JOBS, "team", "y")
        server.hangs = True
        with pytest.raises(errors.Unavailable):
            await client.get(PODS, "team", "z")

    calls = ApiCallMetrics()
    talk(server, some, calls, request_seconds=0.2)
    assert calls.by_verb_and_kind() == {("create", "Job"): 1, ("get", "Job"): 2, ("get", "Pod"): 1}
    requests, seconds = calls.families()
    assert {tuple(sample.labels.values()): sample.value for sample in requests.samples} == {
        ("create", "Job", "201"): 1,
        ("get", "Job", "200"): 1,
        ("get", "Job", "404"): 1,
        ("get", "Pod", "none"): 1,
    }
    took = {sample.labels["verb"]: sample.value for sample in seconds.samples if sample.name.endswith("_sum")}
    assert took["create"] < 0.2 <= took["get"]


def test_paths_of_objects() -> None:
    assert path_of(PODS, "team") == "/api/v1/namespaces/team/pods"
    assert path_of(EVALRUNS, None) == "/apis/evalrun.dev/v1alpha1/evalruns"


def test_path_segments_cannot_leave_their_folder() -> None:
    server = Server().will(200)
    talk(server, lambda client: client.get(EVALRUNS, "a/b", "../../tenant-b/evalruns/nightly?x#y"))
    assert server.asked[0]["raw_path"] == (
        "/apis/evalrun.dev/v1alpha1/namespaces/a%2Fb/evalruns/..%2F..%2Ftenant-b%2Fevalruns%2Fnightly%3Fx%23y"
    )
    for name in (".", ".."):
        with pytest.raises(errors.Invalid, match="not the name of a Kubernetes object"):
            path_of(PODS, "team", name)
        with pytest.raises(errors.Invalid, match="not the name of a Kubernetes object"):
            path_of(PODS, name, "x")
