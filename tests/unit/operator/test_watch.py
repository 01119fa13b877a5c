"""The proof that watches work, and its use by the resync; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from evalrun_operator.kube.errors import ApiError, Forbidden, NoCluster, NotFound, Unavailable
from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS, Kind
from evalrun_operator.kube.workqueue import WorkQueue
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.deliveries import ComparedList, Comparison, Deliveries
from evalrun_operator.watch.events import CHILDREN, EventHandler, key_of
from evalrun_operator.watch.health import Health
from evalrun_operator.watch.resync import Resync
from support import virtual_time


class Sight:
    """A watch and lists of pods, scripted as sentences."""

    def __init__(self) -> None:
        self.deliveries = Deliveries()

    def delivers(self, **versions: str) -> Sight:
        for uid, version in versions.items():
            self.deliveries.record(PODS, uid, version)
        return self

    def lists(self, **versions: str) -> tuple[set[str], set[str]]:
        """Return what is behind and what is overdue."""
        compared = listed(self.deliveries.listing(PODS), **versions)
        return set(compared.behind), set(compared.overdue)


def listed(listing: ComparedList, **versions: str) -> Comparison:
    for uid, version in versions.items():
        listing.see(uid, version)
    return listing.end()


def test_delivering_watch_has_nothing_outstanding() -> None:
    sight = Sight().delivers(a="1", b="2")
    assert sight.lists(a="1", b="2") == (set(), set())


def test_change_on_its_way_does_not_prove_silence() -> None:
    sight = Sight().delivers(a="1")
    assert sight.lists(a="2") == ({"a"}, set())
    assert sight.delivers(a="2").lists(a="2") == (set(), set())


def test_change_not_delivered_between_two_lists_is_overdue() -> None:
    sight = Sight().delivers(a="1")
    assert sight.lists(a="2") == ({"a"}, set())
    assert sight.lists(a="3") == ({"a"}, {"a"})
    assert sight.deliveries.still_outstanding(PODS, frozenset("a")) == {"a"}
    assert sight.delivers(a="3").deliveries.still_outstanding(PODS, frozenset("a")) == frozenset()


def test_constantly_changing_object_is_not_overdue_in_a_lagging_watch() -> None:
    sight = Sight()
    for version in range(10):
        assert sight.lists(a=str(version + 1))[1] == set()
        sight.delivers(a=str(version))


def test_watch_may_be_ahead_of_a_list() -> None:
    sight = Sight().delivers(a="2")
    assert sight.lists(a="1") == ({"a"}, set())
    assert sight.lists(a="2") == (set(), set())


def test_undelivered_new_object_is_overdue() -> None:
    sight = Sight().delivers(a="1")
    sight.lists(a="1", new="5")
    assert sight.lists(a="1", new="5") == ({"new"}, {"new"})


def test_deleted_object_is_not_outstanding() -> None:
    sight = Sight()
    sight.lists(a="1")
    sight.deliveries.record_deletion(PODS, "a")
    assert sight.deliveries.still_outstanding(PODS, frozenset("a")) == frozenset()
    assert sight.lists() == (set(), set())


def test_object_created_during_a_list_is_not_forgotten() -> None:
    deliveries = Deliveries()
    listing = deliveries.listing(PODS)
    deliveries.record(PODS, "new", "7")
    assert not listing.end().vanished
    assert not listed(deliveries.listing(PODS), new="7").behind


def test_object_delivered_while_a_list_is_read_is_not_behind() -> None:
    deliveries = Deliveries()
    deliveries.record(PODS, "a", "1", "run")
    listing = deliveries.listing(PODS)
    listing.see("a", "2")
    deliveries.record(PODS, "a", "2", "run")
    compared = listing.end()
    assert not compared.behind and not compared.vanished


def test_object_that_is_not_listed_has_vanished_with_its_owner() -> None:
    deliveries = Deliveries()
    for uid in ("a", "b"):
        deliveries.record(PODS, uid, "1", f"run of {uid}")
    compared = listed(deliveries.listing(PODS), a="1")
    assert compared.vanished == {"run of b"} and not compared.behind
    assert not listed(deliveries.listing(PODS), a="1").vanished, "said once"


# Resync -----------------------------------------------------------------------------------------------------------


def owned_by(run: object) -> dict[str, Any]:
    """Return the owner reference of a child of a run."""
    owner = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "name": run, "uid": "u", "controller": True}
    return {"ownerReferences": [owner]}


@dataclass
class Server:
    """A server that lists its objects; the watches of ``deaf`` kinds deliver nothing."""

    objects: dict[tuple[Kind, str], dict[str, Any]] = field(default_factory=dict)
    deaf: set[Kind] = field(default_factory=set)
    error: ApiError | None = None
    handler: EventHandler | None = None
    asked: list[tuple[Kind, str | None, str]] = field(default_factory=list)
    version: int = 0
    delay: float = 0.0
    """Seconds that a list takes."""

    async def list_metadata(
        self, kind: Kind, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        self.asked.append((kind, namespace, selector))
        if self.error is not None:
            raise self.error
        listed = [{"metadata": dict(one)} for (other, _), one in self.objects.items() if other is kind]
        await asyncio.sleep(self.delay)
        for one in listed:
            yield one

    def change(self, kind: Kind, name: str, run: str = "x") -> None:
        self.version += 1
        metadata = {"name": name, "namespace": "team", "uid": f"u-{name}", "resourceVersion": str(self.version)}
        self.objects[kind, name] = metadata | owned_by(run)
        if kind not in self.deaf and self.handler is not None:
            self.handler.handle(kind, {"type": "MODIFIED", "object": {"metadata": self.objects[kind, name]}})


def play(
    scene: Callable[[Server, Resync, Health], Awaitable[None]], namespaces: tuple[str, ...] = ()
) -> list[tuple[Key, float]]:
    """Play a scene with a resync each minute and a worker that records when it was called with what."""
    worked: list[tuple[Key, float]] = []

    async def work(key: Key) -> float | None:
        worked.append((key, asyncio.get_running_loop().time()))
        return None

    async def run() -> None:
        server, deliveries = Server(), Deliveries()
        queue: WorkQueue[Key] = WorkQueue()
        server.handler = EventHandler(queue.add, deliveries)
        resync = Resync(server, queue.add, deliveries, (EVALRUNS, JOBS, PODS), namespaces, 60.0)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(queue.run(work)), asyncio.create_task(resync.run())]
        try:
            await scene(server, resync, Health(queue, resync))
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    virtual_time.run(run())
    return worked


def test_only_runs_with_missed_events_are_enqueued_by_the_resync() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        for name in ("x", "y"):
            server.change(EVALRUNS, name)
        server.change(PODS, "p")
        await asyncio.sleep(30)
        server.deaf = {JOBS, PODS}
        server.change(JOBS, "x-a1-driver")
        await asyncio.sleep(60)
        del server.objects[PODS, "p"]
        await asyncio.sleep(60)
        assert resync.silent is not None

    worked = play(scene)
    times = [when for key, when in worked if key.name == "x" and when >= 60.0]
    assert times[:2] == [60.0, 120.0], "its Job, then its pod"
    assert not [when for key, when in worked if key.name == "y" and when > 1.0]


def test_every_run_is_enqueued_periodically() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        for name in ("x", "y"):
            server.change(EVALRUNS, name)
        await asyncio.sleep(700)

    late = [(key.name, when) for key, when in play(scene) if when > 1.0]
    assert {name for name, when in late if when <= 660.0} == {"x", "y"}, "each in its own resync of ten"
    assert len(late) <= 4


def test_silent_watch_is_found_within_three_minutes() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.change(EVALRUNS, "x")
        server.change(PODS, "p")
        await asyncio.sleep(61)
        server.deaf = {PODS}
        server.change(PODS, "p")
        await asyncio.sleep(150)
        server.change(EVALRUNS, "x")
        assert list(health.problems()) == ["the watch of pods is silent: 1 changes were not delivered"]
        assert (await health.healthz(web.Request)).status == 500  # type: ignore[arg-type]

    play(scene)


def test_working_watches_are_never_reported_silent() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        for step in range(2000):
            server.change(PODS, f"p{step % 7}")
            server.change(EVALRUNS, "x")
            await asyncio.sleep(0.7)
            assert list(health.problems()) == []
        assert (await health.healthz(web.Request)).status == 200  # type: ignore[arg-type]

    play(scene)


def test_unavailable_api_server_needs_no_restart_but_a_refusing_one_does() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.error = Unavailable("list", "connection refused")
        await asyncio.sleep(1000)
        assert list(health.problems()) == []
        for refusal in (Forbidden("list", "no", status=403), Unavailable("list", "Unauthorized", status=401)):
            server.error = refusal
            await asyncio.sleep(300)
            assert [problem for problem in health.problems() if "refused the resync" in problem]
            server.error = None
            await asyncio.sleep(61)
            assert list(health.problems()) == []

    play(scene)


def test_watch_age_counts_from_the_last_complete_list() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.change(EVALRUNS, "x")
        server.change(PODS, "p")
        await asyncio.sleep(1)
        assert [resync.watch_age(kind) for kind in (EVALRUNS, JOBS, PODS)] == [1, 1, 1]
        server.deaf = {PODS}
        await asyncio.sleep(60)
        assert resync.watch_age(PODS) == 1, "nothing changed: nothing was missed"
        server.change(PODS, "p")
        await asyncio.sleep(180)
        assert resync.watch_age(PODS) == 181
        assert resync.watch_age(EVALRUNS) <= 61

    play(scene)


def test_late_delivery_does_not_age_a_watch() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.change(PODS, "p")
        await asyncio.sleep(30)
        server.deaf = {PODS}
        server.change(PODS, "p")
        await asyncio.sleep(31)
        assert resync.watch_age(PODS) == 61, "listed, and not yet delivered"
        server.deaf = set()
        server.change(PODS, "p")
        assert resync.watch_age(PODS) == 1

    play(scene)


def test_delivery_during_a_list_does_not_age_a_watch() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.delay = 0.5
        server.change(PODS, "p")
        await asyncio.sleep(60.6)
        server.change(PODS, "p")
        await asyncio.sleep(1.4)
        assert resync.watch_age(PODS) == pytest.approx(1.0), "listed at 60.5, answered at 61.0"

    play(scene)


def test_watches_of_a_busy_cluster_stay_young() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.delay = 0.5
        for _ in range(3000):
            server.change(PODS, "p")
            server.change(EVALRUNS, "x")
            await asyncio.sleep(0.2)
            assert resync.watch_age(PODS) < 62 and resync.watch_age(EVALRUNS) < 62

    play(scene)


def test_failing_resync_ages_itself_and_the_watches() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.error = Unavailable("list", "connection refused")
        await asyncio.sleep(90)
        assert resync.age() == 90 and resync.watch_age(PODS) == 90, "since the operator began"
        server.error = None
        await asyncio.sleep(40)
        assert resync.age() == 10 and resync.watch_age(PODS) == 10
        server.error = Forbidden("list", "no", status=403)
        await asyncio.sleep(600)
        assert resync.age() == 610 and resync.watch_age(PODS) == 610

    play(scene)


def test_operator_is_ready_after_the_first_resync() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.error = Unavailable("list", "connection refused")
        await asyncio.sleep(1)
        server.error = None
        await asyncio.sleep(60)
        assert (await health.readyz(web.Request)).status == 200  # type: ignore[arg-type]

    play(scene)


def test_missing_crd_ends_the_operator_with_a_message() -> None:
    async def scene(server: Server, resync: Resync, health: Health) -> None:
        server.error = NotFound("list", "the server could not find the requested resource", status=404)
        await asyncio.sleep(61)

    with pytest.raises(NoCluster, match="install the chart's CRDs"):
        play(scene)


def test_only_children_in_watched_namespaces_are_listed() -> None:
    seen: list[tuple[Kind, str | None, str]] = []

    async def scene(server: Server, resync: Resync, health: Health) -> None:
        await asyncio.sleep(1)
        seen.extend(server.asked)

    play(scene, ("team", "other"))
    places = [(kind, place) for kind in (EVALRUNS, JOBS, PODS) for place in ("team", "other")]
    expected = [(kind, place, "" if kind is EVALRUNS else CHILDREN) for kind, place in places]
    assert sorted(map(repr, seen)) == sorted(map(repr, expected))
    assert "managed-by=evalrun-operator" in CHILDREN


def test_foreign_object_without_owner_belongs_to_no_run() -> None:
    assert key_of(PODS, {"name": "p", "namespace": "team"}) is None
    assert key_of(PODS, {"name": "p", "namespace": "team", "ownerReferences": None}) is None
    assert key_of(EVALRUNS, {"name": "x", "namespace": "team"}) == Key("team", "x")


@pytest.mark.parametrize(
    "name",
    [
        "../../tenant-b/evalruns/nightly",
        "..",
        ".",
        "a/b",
        "a%2Fb",
        "x?watch=1",
        "x#",
        "Upper",
        "x\n",
        " x",
        "-x",
        "x..y",
        "ü",
        "x" * 254,
        "",
        7,
        ["x"],
    ],
)
def test_invalid_name_of_an_owner_belongs_to_no_run(name: object) -> None:
    metadata = {"name": "p", "namespace": "team", **owned_by(name)}
    assert key_of(PODS, metadata) is None


def test_valid_name_of_an_owner_belongs_to_the_run_in_its_namespace() -> None:
    for name in ("nightly", "a.b-c.7", "x" * 253):
        metadata = {"name": "p", "namespace": "team", **owned_by(name)}
        assert key_of(PODS, metadata) == Key("team", name)


def test_own_status_writes_are_not_news_but_user_changes_are() -> None:
    added: list[Key] = []

    handler = EventHandler(added.append, Deliveries())

    def event(version: int, kind: str | None = "MODIFIED", **metadata: Any) -> int:
        base = {"name": "x", "namespace": "team", "uid": "u", "generation": 1, "resourceVersion": str(version)}
        handler.handle(EVALRUNS, {"type": kind, "object": {"metadata": base | metadata}})
        return len(added)

    assert event(1, None) == 1
    assert event(2) == 1, "a status"
    assert event(3, generation=2) == 2, "a spec"
    assert event(4, generation=2, labels={"kueue.x-k8s.io/queue-name": "q"}) == 3
    assert event(5, "DELETED", generation=2) == 4
    assert event(6, "ADDED") == 5, "another one of its name"
