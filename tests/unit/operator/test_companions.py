"""How what only pods read is checked: seldom, sooner where a pod waits, and without the right to read Secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from evalrun_api import EvalRunStatus, Phase, RunProgress
from evalrun_operator.kube.errors import Forbidden, Unavailable
from evalrun_operator.kube.objects import CONFIG_MAPS, NETWORK_POLICIES, SECRETS, SERVICES, Kind
from evalrun_operator.metrics.runs import ObservedRuns
from evalrun_operator.observe.companions import Companions
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.reconcile import Reconciler
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import Attempt, DriverPhase, ObservedDriver
from support.evalruns import NOON, make_run
from support.fake_api import FakeApi
from support.operator_backend_cases import backend, job, pod

RUN = make_run().build()
LIVING = Attempt(ObservedDriver(DriverPhase.READY), created_at=NOON)
WAITING = Attempt(ObservedDriver(DriverPhase.READY), created_at=NOON, pod_waits=True)


class Scene:
    def __init__(self) -> None:
        self.api = FakeApi()
        self.now: datetime = NOON
        self.companions = Companions(self.api, backend(), lambda: self.now)  # type: ignore[arg-type]

    def check(self, seconds: float, attempt: Attempt = LIVING, number: int = 1) -> frozenset[Kind]:
        """Check so many seconds after noon."""
        self.now = NOON + timedelta(seconds=seconds)
        return asyncio.run(self.companions.missing("x", RUN, number, attempt))


def test_c08_what_is_missing_is_found_without_a_watch() -> None:
    scene = Scene()
    scene.api.having(SERVICES, "nightly-0f3c9a52-a1")
    assert scene.check(300) == {CONFIG_MAPS, NETWORK_POLICIES}


def test_an_attempt_is_checked_every_five_minutes() -> None:
    scene = Scene()
    for seconds in range(600):
        scene.check(seconds)
    assert len(scene.api.read) == 3
    scene.check(600)
    assert len(scene.api.read) == 6
    assert scene.check(620, number=2, attempt=Attempt(LIVING.driver, created_at=NOON + timedelta(seconds=610))) == set()
    scene.companions.forget("x")
    assert scene.check(630)


def test_a_pod_that_waits_brings_the_check_forward_and_has_the_secret_checked() -> None:
    scene = Scene()
    assert scene.check(19, WAITING) == set()
    assert SECRETS in scene.check(20, WAITING)
    assert scene.check(30, WAITING) == set()
    assert SECRETS in scene.check(40, WAITING)
    assert SECRETS not in scene.check(400, LIVING)


def test_c08_a_secret_is_checked_without_the_right_to_read_it() -> None:
    scene = Scene()
    scene.api.failing("metadata", SECRETS, Forbidden("get", "may not", status=403))
    assert SECRETS in scene.check(20, WAITING)
    assert scene.api.log == [], "nothing is written by a check"
    scene.api.having(SECRETS, "nightly-0f3c9a52-ray")
    assert SECRETS not in scene.check(40, WAITING)


def test_what_the_api_server_does_not_tell_counts_as_there() -> None:
    scene = Scene()
    scene.api.failing("metadata", SERVICES, Unavailable("get", "etcdserver: request timed out", status=500))
    assert scene.check(300) == {CONFIG_MAPS, NETWORK_POLICIES}


def test_the_check_asks_for_what_the_charts_own_policies_permit() -> None:
    asked: list[Mapping[str, Any]] = []

    class Api(FakeApi):
        async def create(
            self, kind: Kind, namespace: str, manifest: Mapping[str, Any], *, dry_run: bool = False
        ) -> dict[str, Any]:
            asked.append(manifest)
            return await super().create(kind, namespace, manifest, dry_run=dry_run)

    scene = Scene()
    api = Api().failing("metadata", SECRETS, Forbidden("get", "may not", status=403))
    scene.companions = Companions(api, backend(), lambda: scene.now)  # type: ignore[arg-type]
    assert SECRETS in scene.check(20, WAITING)
    (secret,) = asked
    assert secret["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "evalrun-operator"
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"]) == ("EvalRun", True)
    assert "data" not in secret


def test_what_a_policy_keeps_back_counts_as_there() -> None:
    scene = Scene()
    refused = Forbidden("create", "denied by a policy", status=403)
    scene.api.failing("metadata", SECRETS, refused).failing("create", SECRETS, refused)
    assert SECRETS not in scene.check(20, WAITING)


# The whole operator -----------------------------------------------------------------------------------------------


def test_c08_children_deleted_by_hand_come_back_within_their_attempt() -> None:
    of = job()
    api = FakeApi()
    run = make_run().with_status(EvalRunStatus(phase=Phase.STARTING, attempt=1, active_since=NOON)).manifest()
    run["metadata"]["resourceVersion"] = "1"
    api.objects["EvalRun", "nightly"] = run
    api.objects["Job", "nightly-a1-driver"] = of
    api.objects["Pod", "p"] = pod(of)

    async def ask(_: str) -> RunProgress | None:
        return None

    observer = Observer(api, backend(), ask, lambda: NOON)  # type: ignore[arg-type]
    settings = OperatorSettings()
    runs = ObservedRuns(settings.metrics)
    reconciler = Reconciler(api, backend(), observer, settings, lambda: NOON, runs)  # type: ignore[arg-type]
    asyncio.run(reconciler.reconcile(Key("team", "nightly")))
    assert sorted(one for one in api.log if one.startswith("create")) == [
        "create ConfigMap nightly-0f3c9a52-a1-config",
        "create NetworkPolicy nightly-0f3c9a52-pods",
        "create Service nightly-0f3c9a52-a1",
    ]
    api.log.clear()
    asyncio.run(reconciler.reconcile(Key("team", "nightly")))
    assert not [one for one in api.log if one.startswith("create")]
