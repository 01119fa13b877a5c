"""A replica as the driver sees it: orders in, reports out, parts in the store. The engine is the mock one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import pytest

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.benchmarks.running_scores import tally
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.errors import ObjectMissing, RunFailed, StoreUnavailable
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.segments import plan_task
from evalrun_runner.records.messages import Committed, EngineStats, Lease, Order, Report
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemCounts, ItemResult, ItemStatus, Outcome
from evalrun_runner.replica.assembly import Parts, build_replica
from evalrun_runner.replica.replica import Replica
from evalrun_runner.replica.scoring import ScoringProcess
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.replica.state import ReplicaPolicy
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.memory import MemoryStore
from evalrun_runner.store.open import StoreSpec
from support.builders import make_chunk
from support.suites import Suite

WAIT = 60.0
"""Seconds that a busy machine may take to score a chunk."""
CHUNK_ITEMS = 4


@dataclass(frozen=True)
class Plan:
    """A task of the suite, planned: its recipe and items."""

    recipe: TaskRecipe
    items: list[Item]

    @property
    def task(self) -> str:
        return self.recipe.task


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """``sums`` has 12 questions, of ``odd`` each chunk is another case."""
    folder = tmp_path_factory.mktemp("replica")
    odd = ["[mock:stall]", "fine", "fine", "fine", "[mock:refuse]", "fine", "x" * 3000, "fine"]
    suite = Suite(folder / "suite")
    for name, questions in {"sums": [f"{n} + 1 =" for n in range(12)], "odd": odd}.items():
        suite.with_data(name, [{"question": question, "answer": str(n)} for n, question in enumerate(questions)])
        suite.with_task(
            name,
            data=name,
            output_type="generate_until",
            doc_to_text="{{question}}",
            doc_to_target="{{answer}}",
            generation_kwargs={"until": ["\n"], "do_sample": False, "max_gen_toks": 64},
            metric_list=[{"metric": "exact_match"}],
        )
    specs = [BenchmarkSpec(name=name, task=name, source=suite.folder) for name in ("sums", "odd")]
    leaves = load_benchmarks(specs, seed=1, allow_code=False).leaves
    return {leaf.name: Plan(leaf.recipe, list(iter_items(leaf, None))) for leaf in leaves}


class Here:
    """Scores in this process: starting another one takes seconds, and ``test_replica_scoring`` does."""

    def __init__(self, recipes: Mapping[str, TaskRecipe]) -> None:
        self._recipes = recipes

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        return Scorer(self._recipes[task]).score(items, outcomes)


QUICK = Parts(scoring=Here)


class Flaky(MemoryStore):
    """Says that it is away while ``away`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.away = threading.Event()

    def create(self, key: str, data: bytes) -> bool:
        if self.away.is_set():
            raise StoreUnavailable("the store is away")
        return super().create(key, data)


class Broken(MemoryStore):
    """Fails as no store should."""

    def create(self, key: str, data: bytes) -> bool:
        if key.startswith(layout.PARTS):
            raise ArithmeticError("cannot count")
        return super().create(key, data)


class Scene:
    """A planned task in a store, and replicas that the test talks to."""

    def __init__(self, plan: Plan, store: ObjectStore, recipes: list[TaskRecipe], parts: Parts) -> None:
        self.store, self.ledger = store, Ledger(store)
        self._parts = replace(parts, open_store=lambda _: store)
        sizing = ChunkSizing(max_items=CHUNK_ITEMS, target_cost=1e9)
        segments = [*plan_task(plan.task, plan.items, self.ledger, sizing)]
        self.chunks = [chunk for segment in segments for chunk in segment.chunks]
        self._recipes = {recipe.task: recipe for recipe in recipes}
        self._replicas: list[Replica] = []

    def replica(self, name: str = "r1", **settings: object) -> Replica:
        usual = ReplicaSettings(
            store=StoreSpec("/nowhere"),
            engine=MockSettings(max_num_seqs=8, max_model_len=2000),
            recipes=self._recipes,
            seed=1,
        )
        replica = build_replica(name, replace(usual, **settings), self._parts)  # type: ignore[arg-type]  # fields by name
        self._replicas.append(replica)
        assert replica.load()["maxNumSeqs"] == 8
        return replica

    def lease(self, number: int, **settings: object) -> Lease:
        return Lease(100 + number, self.chunks[number], **settings)  # type: ignore[arg-type]  # fields by name

    def rows(self, number: int) -> Sequence[ItemResult]:
        return self.ledger.read_part(self.chunks[number]).rows

    def end(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(leave, self._replicas))


def leave(replica: Replica) -> Report | None:
    if replica._state.failure is not None:
        replica._store.stop_waiting()
        return None
    return replica.exchange(Order(done=True), 0.0)


@pytest.fixture
def scene(plans: dict[str, Plan]) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(task: str = "sums", store: ObjectStore | None = None, parts: Parts = QUICK) -> Scene:
        recipes = [plan.recipe for plan in plans.values()]
        made.append(Scene(plans[task], store or MemoryStore(), recipes, parts))
        return made[-1]

    yield make
    for one in made:
        one.end()


def reports(replica: Replica, order: Order | None = None, *, until: Callable[[Report], bool]) -> list[Report]:
    """Talk to a replica until a report that fits; all reports on the way."""
    deadline = time.monotonic() + WAIT
    heard = [replica.exchange(order or Order(), 0.2)]
    while not until(heard[-1]):
        assert time.monotonic() < deadline, f"{WAIT:g} s without it: {heard[-1]}"
        heard.append(replica.exchange(Order(), 0.2))
    return heard


def commits(replica: Replica, *leases: Lease) -> list[Committed]:
    """What comes of leases, in the order of the leases."""
    found: dict[int, Committed] = {}
    order: Order | None = Order(leases)
    while len(found) < len(leases):
        for committed in reports(replica, order, until=lambda report: bool(report.committed))[-1].committed:
            found[committed.lease] = committed
        order = None
    return [found[lease.id] for lease in leases]


def test_leases_become_parts(scene: Callable[..., Scene]) -> None:
    here = scene(parts=replace(QUICK, scoring=ScoringProcess))
    replica = here.replica()
    assert replica.exchange(Order(), 0.0).wants == 8 + 64
    found = commits(replica, *(here.lease(n) for n in range(3)))
    assert [(one.chunk, one.counts, one.won) for one in found] == [
        (chunk.id, ItemCounts(ok=CHUNK_ITEMS), True) for chunk in here.chunks
    ]
    assert all(one.prompt_tokens > 0 and one.output_tokens > 0 and one.seconds_to_commit >= 0 for one in found)
    rows = here.rows(1)
    assert [row.doc_id for row in rows] == [4, 5, 6, 7]
    assert all(row.scores is not None and "exact_match" in row.scores for row in rows)
    assert here.ledger.read_part(here.chunks[1]).writer == Writer("r1", "mock")
    last = replica.exchange(Order(), 0.0)
    assert (last.wants, last.busy, last.committed, last.degraded) == (8 + 64, False, (), None)
    assert last.tokens > 0


def test_commits_carry_the_tallies_for_running_scores(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    nothing = here.lease(0, quarantined=dict.fromkeys(range(CHUNK_ITEMS), "poison"))
    half, none = commits(here.replica(), here.lease(1), nothing)
    ((key, found),) = half.scores.items()
    assert (key, found.n) == (("exact_match", "none"), 2)
    assert half.scores == tally(here.rows(1))
    assert none.scores == {}


def test_a_report_contains_engine_store_and_latencies(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    replica = here.replica()
    assert replica.exchange(Order(), 0.0).telemetry.engine == EngineStats()
    # One item of the chunk stalls in the engine.
    busy = reports(replica, Order((here.lease(0),)), until=lambda report: sum(report.telemetry.latencies.buckets) == 3)
    engine = busy[-1].telemetry.engine
    assert (engine.running, engine.waiting, engine.cache_usage) == (1, 0, 1 / 8)
    assert engine.prefix_queried > 0
    assert busy[-1].telemetry.latencies.total >= 0
    assert busy[-1].telemetry.store.requests["get"] >= 1, "the manifest was read"
    reports(replica, Order(cancel=(100,)), until=lambda report: report.telemetry.engine.running == 0)
    commits(replica, here.lease(1))
    assert replica.exchange(Order(), 0.0).telemetry.store.requests["create"] == 1


def test_a_failing_store_is_part_of_the_report(scene: Callable[..., Scene]) -> None:
    store = Flaky()
    here = scene(store=store)
    replica = here.replica()
    store.away.set()
    reports(replica, Order((here.lease(0),)), until=lambda report: report.degraded is not None)
    store.away.clear()
    (*_, last) = reports(replica, until=lambda report: bool(report.committed))
    assert last.telemetry.store.retries["unavailable"] >= 1
    assert last.telemetry.store.wait_seconds > 0


def test_a_replica_wants_less_while_it_holds_work_and_nothing_once_it_leaves(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    replica = here.replica()
    (*_, last) = reports(replica, Order((here.lease(0),)), until=lambda report: report.busy and report.wants == 71)
    assert last.committed == ()
    assert replica.exchange(Order(done=True), 0.0).wants == 0


def test_items_that_cannot_run_fail_and_the_others_are_answered(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    (committed,) = commits(here.replica(), here.lease(1))
    assert committed.counts == ItemCounts(ok=2, failed=2)
    errors = [row.outcome.error or "" for row in here.rows(1)]
    assert [error.partition(":")[0] for error in errors] == ["RefusedByEngine", "", "ContextTooLong", ""]


def test_an_item_that_stalls_is_given_up_at_its_deadline(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    (committed,) = commits(here.replica(item_deadline=0.5), here.lease(0))
    assert committed.counts == ItemCounts(ok=3, failed=1)
    assert str(here.rows(0)[0].outcome.error).startswith("DeadlineExceeded")


def test_quarantined_rows_are_not_run(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    (committed,) = commits(here.replica(), here.lease(0, quarantined={0: "it killed two engines"}))
    assert committed.counts == ItemCounts(ok=3, quarantined=1)
    outcome = here.rows(0)[0].outcome
    assert outcome == Outcome(ItemStatus.QUARANTINED, error="it killed two engines")


@pytest.mark.parametrize("isolated", [False, True])
def test_a_chunk_with_nothing_to_run_is_committed(scene: Callable[..., Scene], isolated: bool) -> None:
    here = scene()
    rows = dict.fromkeys(range(CHUNK_ITEMS), "poison")
    (committed,) = commits(here.replica(), here.lease(0, quarantined=rows, isolated=isolated))
    assert committed.counts == ItemCounts(quarantined=CHUNK_ITEMS)


def goes_on(announced: tuple[int, int], report: Report) -> bool:
    return report.announced != announced or bool(report.committed)


def test_an_isolated_item_starts_only_after_the_order_that_follows_its_announcement(
    scene: Callable[..., Scene],
) -> None:
    here = scene()
    replica = here.replica()
    lease = here.lease(0, isolated=True)
    heard = reports(replica, Order((lease,)), until=lambda report: report.announced is not None)
    tokens = heard[-1].tokens
    for row in range(CHUNK_ITEMS):
        at = (lease.id, row)
        assert (heard[-1].announced, heard[-1].wants) == (at, 0)
        # Announced and not yet confirmed: nothing has moved.
        assert replica._pump is not None
        assert (replica._pump.running_items, heard[-1].tokens) == (0, tokens)
        heard = reports(replica, until=partial(goes_on, at))
        assert heard[-1].tokens > tokens
        tokens = heard[-1].tokens
    if not heard[-1].committed:
        heard = reports(replica, until=lambda report: bool(report.committed))
    assert heard[-1].committed[0].counts == ItemCounts(ok=CHUNK_ITEMS)
    assert reports(replica, until=lambda report: report.announced is None)[-1].wants == 72


def test_an_isolated_chunk_can_be_cancelled_before_and_while_its_item_runs(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    replica = here.replica()
    lease = here.lease(0, isolated=True)
    for running in (True, False):
        reports(replica, Order((lease,)), until=lambda report: report.announced == (lease.id, 0))
        if running:
            reports(replica, until=lambda report: report.busy)
        (*_, last) = reports(
            replica, Order(cancel=(lease.id,)), until=lambda report: report.announced is None and not report.busy
        )
        assert last.wants == 72
    (committed,) = commits(replica, here.lease(1))
    assert committed.counts.total == CHUNK_ITEMS


def test_a_cancelled_lease_is_dropped_and_the_replica_continues(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    replica = here.replica()
    reports(replica, Order((here.lease(0),)), until=lambda report: report.busy)
    reports(replica, Order(cancel=(100, 4711)), until=lambda report: not report.busy and report.wants == 72)
    commits(replica, here.lease(1))
    assert list(here.ledger.committed_parts()) == [here.chunks[1].id]


def test_done_commits_what_is_complete_and_leaves_the_rest(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    replica = here.replica()
    order = Order((here.lease(0), here.lease(1)))
    # The other chunk of the two stalls for ever.
    reports(replica, order, until=lambda report: report.wants == 71)
    last = leave(replica)
    assert last is not None
    assert [one.lease for one in last.committed] in ([101], [])
    assert list(here.ledger.committed_parts()) == [here.chunks[1].id]
    # Asked again, it has nothing more to say and keeps nobody waiting.
    before = time.monotonic()
    again = replica.exchange(Order(done=True), 30.0)
    assert (again.wants, again.committed) == (0, ())
    assert time.monotonic() - before < 5


def test_a_drained_replica_commits_complete_chunks_and_returns_the_rest(scene: Callable[..., Scene]) -> None:
    here = scene("odd")
    replica = here.replica()
    # The other chunk of the two stalls for ever; the driver is waiting for a report meanwhile.
    reports(replica, Order((here.lease(0), here.lease(1))), until=lambda report: report.wants == 71)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(replica.exchange, Order(), WAIT)
        replica.drain()
        last = waiting.result()
    if not last.leaving:
        last = replica.exchange(Order(), 0.0)
    assert (last.leaving, last.returned, last.wants) == (True, (100,), 0)
    assert list(here.ledger.committed_parts()) == [here.chunks[1].id]


def test_a_drained_replica_without_its_store_returns_everything(scene: Callable[..., Scene]) -> None:
    store = Flaky()
    here = scene(store=store)
    replica = here.replica()
    store.away.set()
    reports(replica, Order((here.lease(0),)), until=lambda report: report.degraded is not None)
    replica._store.stop_waiting()
    replica.drain()
    last = replica.exchange(Order(), 0.0)
    assert (last.leaving, last.returned, last.committed) == (True, (100,), ())


def test_one_of_two_replicas_on_a_chunk_wins_and_both_agree(scene: Callable[..., Scene]) -> None:
    here = scene()
    replicas = [here.replica("r1"), here.replica("r2")]
    with ThreadPoolExecutor() as pool:
        found = [one[0] for one in pool.map(lambda replica: commits(replica, here.lease(0)), replicas)]
    assert sorted(one.won for one in found) == [False, True]
    assert {one.counts for one in found} == {ItemCounts(ok=CHUNK_ITEMS)}
    winner = next(n for n, one in enumerate(found) if one.won)
    assert here.ledger.read_part(here.chunks[0]).writer.replica == f"r{winner + 1}"


def test_rows_of_an_earlier_run_are_reused_unchanged(scene: Callable[..., Scene]) -> None:
    earlier = scene()
    commits(earlier.replica("old"), earlier.lease(0))
    here = scene()
    rows = list(earlier.rows(0))
    rows[1] = ItemResult(rows[1].doc_id, rows[1].item_hash, Outcome(ItemStatus.FAILED, error="no luck"))
    kept = replace(earlier.ledger.read_part(earlier.chunks[0]), rows=tuple(rows))
    here.ledger.carry(kept)
    (committed,) = commits(here.replica("new", carried=True), here.lease(0))
    assert committed.counts == ItemCounts(ok=CHUNK_ITEMS)
    now = here.rows(0)
    assert [now[n] for n in (0, 2, 3)] == [rows[n] for n in (0, 2, 3)]
    assert now[1].outcome.status is ItemStatus.OK
    assert committed.output_tokens == sum(r.output_tokens for r in now[1].outcome.responses[0])
    assert [one.n for one in committed.scores.values()] == [CHUNK_ITEMS], "of those that are kept, too"


def test_a_failing_store_is_reported_and_work_continues(scene: Callable[..., Scene]) -> None:
    store = Flaky()
    here = scene(store=store)
    replica = here.replica()
    store.away.set()
    leases = tuple(here.lease(n) for n in range(3))
    (*_, last) = reports(replica, Order(leases), until=lambda report: report.degraded is not None and not report.busy)
    assert last.degraded == "the store is away"
    assert last.wants == 72, "three chunks wait; more may come"
    store.away.clear()
    committed: list[Committed] = []
    while len(committed) < 3:
        committed += reports(replica, until=lambda report: bool(report.committed))[-1].committed
    assert reports(replica, until=lambda report: report.degraded is None)


def test_a_replica_with_a_full_spool_wants_nothing(scene: Callable[..., Scene]) -> None:
    store = Flaky()
    here = scene(store=store, parts=replace(QUICK, policy=ReplicaPolicy(spool_chunks=2)))
    replica = here.replica()
    store.away.set()
    leases = tuple(here.lease(n) for n in range(3))
    reports(replica, Order(leases), until=lambda report: report.wants == 0 and report.degraded is not None)
    store.away.clear()
    reports(replica, until=lambda report: report.wants == 72)


def test_when_the_stores_patience_is_over_the_exchange_raises_the_reason(scene: Callable[..., Scene]) -> None:
    store = Flaky()
    here = scene(store=store)
    replica = here.replica(store_patience=0.5)
    store.away.set()
    with pytest.raises(StoreUnavailable, match="the store is away"):
        reports(replica, Order((here.lease(0),)), until=lambda report: False)


def test_a_lease_that_is_not_in_the_manifest_fails_the_replica(scene: Callable[..., Scene]) -> None:
    here = scene()
    replica = here.replica()
    strange = make_chunk(99, task="sums", segment=7, items=4, digest="0" * 64)
    with pytest.raises(ObjectMissing, match="is not there"):
        reports(replica, Order((Lease(1, strange),)), until=lambda report: False)


def test_any_error_in_committing_is_reported(scene: Callable[..., Scene]) -> None:
    here = scene(store=Broken())
    replica = here.replica()
    with pytest.raises(RunFailed, match="r1: committing failed: ArithmeticError: cannot count"):
        reports(replica, Order((here.lease(0),)), until=lambda report: False)


def test_many_small_orders_lose_nothing(scene: Callable[..., Scene]) -> None:
    here = scene()
    replica = here.replica()
    leases = [replace(here.lease(n % 3), id=n) for n in range(30)]
    found: list[Committed] = []
    deadline = time.monotonic() + WAIT
    while len(found) < 30:
        assert time.monotonic() < deadline, f"{len(found)} of 30 leases were committed"
        now, leases = leases[: 1 + len(found) % 3], leases[1 + len(found) % 3 :]
        found += replica.exchange(Order(tuple(now)), 0.0 if leases else 0.2).committed
    assert sorted(one.lease for one in found) == list(range(30))
    assert sum(one.won for one in found) == 3
    assert reports(replica, until=lambda report: report.wants == 72)
