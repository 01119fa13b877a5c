"""The dispatch policy, rule by rule."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from hashlib import sha256

import pytest

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure, DispatchPolicy
from evalrun_runner.errors import RunFailed
from evalrun_runner.records.messages import Committed, Lease, Order, Report
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts
from support.builders import make_chunk, make_committed

ITEMS = 4


def chunk(number: int, task: str = "t", cost: float = 100.0, items: int = ITEMS) -> Chunk:
    digest = sha256(f"{task}{number}".encode()).hexdigest()
    return make_chunk(number, task=task, first_row=number * items, items=items, cost=cost, digest=digest)


def committed(lease: Lease, won: bool = True, failed: int = 0, quarantined: int = 0) -> Committed:
    counts = ItemCounts(lease.chunk.items - failed - quarantined, failed, quarantined)
    return make_committed(lease, counts, won=won, tokens=(10, 20))


def numbers(leases: Iterable[Lease]) -> list[int]:
    return [lease.chunk.number for lease in leases]


class Scene:
    """A dispatcher, a clock that the test moves, and short words for what replicas say."""

    def __init__(self, *chunks: Chunk, planned: bool = True, **policy: float) -> None:
        self.told: list[tuple[str, tuple[str, int]]] = []
        """Who committed what, as those who watch are told."""
        self.dispatcher = Dispatcher(
            DispatchPolicy(**policy),  # type: ignore[arg-type]  # ints and floats alike
            lambda replica, committed: self.told.append((replica, committed.chunk)),
        )
        self.dispatcher.add_chunks(chunks)
        if planned:
            self.dispatcher.planning_done()
        self.now = 0.0

    def join(self, *replicas: str) -> Scene:
        for replica in replicas:
            self.dispatcher.join(replica, self.now)
        return self

    def asks(self, replica: str, wants: int = ITEMS, **report: object) -> Order:
        return self.dispatcher.report(replica, Report(wants=wants, **report), self.now)  # type: ignore[arg-type]

    def takes(self, replica: str, wants: int = ITEMS) -> tuple[Lease, ...]:
        return self.asks(replica, wants).leases

    def commits(self, replica: str, *leases: Lease, wants: int = 0) -> Order:
        return self.asks(replica, wants, committed=tuple(committed(lease) for lease in leases))

    def leaves(self, replica: str, cause: Departure) -> None:
        self.dispatcher.leave(replica, cause, self.now)

    @property
    def counts(self) -> ItemCounts:
        return self.dispatcher.progress(self.now).counts

    @property
    def redone(self) -> int:
        return self.dispatcher.progress(self.now).redone


def plan(count: int, **fields: float) -> list[Chunk]:
    return [chunk(number, **fields) for number in range(count)]  # type: ignore[arg-type]


class TestLeasing:
    def test_credit_is_filled_and_not_exceeded_by_a_chunk(self) -> None:
        scene = Scene(*plan(10)).join("a")
        assert len(scene.takes("a", wants=2 * ITEMS)) == 2
        assert scene.takes("a", wants=ITEMS // 2 - 1) == ()
        assert len(scene.takes("a", wants=ITEMS // 2)) == 1

    def test_an_idle_replica_gets_a_chunk_for_any_credit_but_none_without_credit(self) -> None:
        scene = Scene(*plan(3)).join("a")
        assert scene.takes("a", wants=0) == ()
        assert len(scene.takes("a", wants=1)) == 1

    def test_expensive_chunks_go_first(self) -> None:
        scene = Scene(chunk(0, cost=10), chunk(1, cost=1000), chunk(2, cost=100)).join("a")
        assert numbers(scene.takes("a", wants=3 * ITEMS)) == [1, 2, 0]

    def test_a_replica_stays_with_its_task_while_costs_are_similar(self) -> None:
        tasks = ("x", "y")
        scene = Scene(*(chunk(number, task) for number in range(3) for task in tasks)).join("a", "b")
        for _ in range(3):
            got = {name: scene.takes(name, wants=ITEMS) for name in ("a", "b")}
            assert [[lease.chunk.task for lease in leases] for leases in got.values()] == [["x"], ["y"]]

    def test_a_much_more_expensive_chunk_of_another_task_still_goes_first(self) -> None:
        scene = Scene(chunk(0, "x"), chunk(1, "x"), planned=False).join("a")
        scene.takes("a", wants=ITEMS)
        scene.dispatcher.add_chunks([chunk(0, "y", cost=1000)])
        assert scene.takes("a", wants=ITEMS)[0].chunk.task == "y"

    def test_no_replica_hoards_chunks_near_the_end(self) -> None:
        scene = Scene(*plan(8)).join("a", "b", "c", "d")
        assert len(scene.takes("a", wants=100)) == 2

    def test_a_slow_replica_holds_less_of_the_tail(self) -> None:
        scene = Scene(*plan(40)).join("fast", "slow")
        held = {"fast": scene.takes("fast", wants=ITEMS), "slow": scene.takes("slow", wants=ITEMS)}
        for second in range(1, 13):
            scene.now = float(second)
            held["fast"] = scene.commits("fast", *held["fast"], wants=ITEMS).leases
            if second % 4 == 0:
                held["slow"] = scene.commits("slow", *held["slow"], wants=ITEMS).leases
        fast, slow = scene.takes("fast", wants=1000), scene.takes("slow", wants=1000)
        assert len(fast) == pytest.approx(4 * (len(slow) + 1), abs=4)

    def test_late_chunks_are_leased_and_the_run_waits_for_them(self) -> None:
        scene = Scene(chunk(0), planned=False).join("a")
        assert not scene.commits("a", *scene.takes("a")).done
        scene.dispatcher.add_chunks([chunk(1)])
        lease = scene.takes("a")
        scene.dispatcher.planning_done()
        assert not scene.dispatcher.finished
        assert scene.commits("a", *lease).done

    def test_returned_leases_are_leased_again(self) -> None:
        scene = Scene(*plan(2)).join("a", "b")
        lease = scene.takes("a")[0]
        scene.asks("a", wants=0, returned=(lease.id,))
        assert lease.chunk.number in numbers(scene.takes("b", wants=2 * ITEMS))
        assert scene.redone == 0

    def test_a_run_without_chunks_is_finished_once_planned(self) -> None:
        assert Scene().dispatcher.finished


class TestCommits:
    def test_a_repeated_commit_counts_once(self) -> None:
        scene = Scene(*plan(2)).join("a")
        lease = scene.takes("a")[0]
        scene.commits("a", lease)
        scene.commits("a", lease)
        assert scene.counts == ItemCounts(ok=ITEMS)
        assert scene.dispatcher.progress(0.0).duplicate_commits == 1

    def test_a_commit_from_a_replica_that_was_given_up_counts_and_it_is_ordered_to_leave(self) -> None:
        scene = Scene(*plan(1)).join("a", "b")
        lease = scene.takes("a")[0]
        scene.leaves("a", Departure.LOST)
        order = scene.commits("a", lease)
        assert order.done
        assert scene.counts == ItemCounts(ok=ITEMS)
        assert scene.takes("b") == ()

    def test_a_replica_that_never_joined_is_ordered_to_leave(self) -> None:
        assert Scene(*plan(1)).asks("stranger") == Order(done=True)

    def test_counts_must_cover_the_chunk(self) -> None:
        scene = Scene(*plan(1)).join("a")
        lease = scene.takes("a")[0]
        short = make_committed(lease, ItemCounts(ok=1))
        with pytest.raises(RunFailed, match="1 results for 4 items"):
            scene.asks("a", committed=(short,))

    def test_committing_an_unplanned_chunk_is_an_error(self) -> None:
        scene = Scene(*plan(1)).join("a")
        with pytest.raises(RunFailed, match="never planned"):
            scene.commits("a", Lease(1, chunk(9)))

    def test_a_chunk_cannot_be_planned_twice(self) -> None:
        with pytest.raises(RunFailed, match="planned twice"):
            Scene(chunk(0), chunk(0))

    def test_the_cap_counts_failed_and_quarantined(self) -> None:
        scene = Scene(*plan(2), max_failed_items=2).join("a")
        first, second = scene.takes("a", wants=2 * ITEMS)
        scene.asks("a", committed=(committed(first, failed=1, quarantined=1),))
        assert not scene.dispatcher.over_cap
        scene.asks("a", committed=(committed(second, failed=1),))
        assert scene.dispatcher.over_cap


class TestResume:
    def test_committed_chunks_are_reused(self) -> None:
        dispatcher = Dispatcher()
        dispatcher.add_chunks(plan(2), {("t", 0): ItemCounts(3, 1)})
        dispatcher.planning_done()
        progress = dispatcher.progress(0.0)
        assert (progress.kept, progress.planned, progress.counts) == (ITEMS, 2 * ITEMS, ItemCounts(3, 1))
        dispatcher.join("a", 0.0)
        assert numbers(dispatcher.report("a", Report(wants=100), 0.0).leases) == [1]

    def test_a_chunk_with_a_corrupt_part_runs_again_and_its_old_commit_no_longer_counts(self) -> None:
        scene = Scene(*plan(1)).join("a")
        old = scene.takes("a")[0]
        scene.commits("a", old)
        scene.dispatcher.reopen(old.chunk)
        assert (scene.counts.total, scene.redone) == (0, ITEMS)
        scene.commits("a", old)
        assert not scene.dispatcher.finished
        scene.commits("a", *scene.takes("a"))
        assert scene.dispatcher.finished
        assert scene.counts == ItemCounts(ok=ITEMS)
        assert scene.told == [("a", ("t", 0))] * 2, "the one that was set aside, and the one that counts"

    def test_a_reused_part_that_is_corrupt_is_no_longer_reused(self) -> None:
        dispatcher = Dispatcher()
        dispatcher.add_chunks(plan(1), {("t", 0): ItemCounts(2, 1, 1)})
        dispatcher.reopen(chunk(0))
        progress = dispatcher.progress(0.0)
        assert (progress.kept, progress.counts, progress.pending) == (0, ItemCounts(), ITEMS)


class TestHedging:
    def two_with_one_straggler(self) -> tuple[Scene, Lease]:
        scene = Scene(*plan(4)).join("a", "b")
        late = scene.takes("b")[0]
        for second in range(1, 4):
            lease = scene.takes("a")
            scene.now = float(second)
            scene.commits("a", *lease)
        return scene, late

    def test_an_idle_replica_gets_a_copy_of_a_late_lease_and_the_first_commit_wins(self) -> None:
        scene, late = self.two_with_one_straggler()
        copy = scene.takes("a")[0]
        assert copy.chunk == late.chunk
        assert copy.id != late.id
        scene.now = 5.0
        assert scene.commits("a", copy).done
        assert scene.asks("b").cancel == (late.id,)
        assert scene.commits("b", late).cancel == ()
        assert scene.counts == ItemCounts(ok=4 * ITEMS)

    def test_there_is_no_third_copy(self) -> None:
        scene, _ = self.two_with_one_straggler()
        assert scene.takes("a")
        scene.join("c")
        scene.now = 100.0
        assert scene.takes("c") == ()

    def test_leases_that_are_not_late_are_not_copied(self) -> None:
        scene = Scene(*plan(3)).join("a", "b")
        for second in range(1, 3):
            lease = scene.takes("a")
            scene.now = float(second)
            scene.commits("a", *lease)
        scene.takes("b")
        scene.now += 0.5
        assert scene.takes("a") == ()

    def test_a_copy_keeps_the_work_of_a_replica_that_dies_out_of_the_queue(self) -> None:
        scene, late = self.two_with_one_straggler()
        copy = scene.takes("a")[0]
        scene.leaves("b", Departure.LOST)
        assert scene.redone == 0
        assert scene.join("c").takes("c") == ()
        assert scene.commits("a", copy).done
        assert late.chunk == copy.chunk


class TestSuspects:
    def test_chunks_of_a_crashed_replica_run_alone(self) -> None:
        scene = Scene(*plan(6)).join("a", "b")
        held = scene.takes("a", wants=2 * ITEMS)
        scene.leaves("a", Departure.CRASHED)
        assert scene.redone == 2 * ITEMS
        lease = scene.takes("b", wants=100)
        assert len(lease) == 1
        assert lease[0].isolated
        assert lease[0].chunk in [one.chunk for one in held]
        assert scene.takes("b", wants=100) == ()

    @pytest.mark.parametrize("cause", [Departure.DRAINED, Departure.LOST])
    def test_departures_without_fault_make_no_suspects(self, cause: Departure) -> None:
        scene = Scene(*plan(2)).join("a", "b")
        scene.takes("a", wants=2 * ITEMS)
        scene.leaves("a", cause)
        assert not any(lease.isolated for lease in scene.takes("b", wants=100))

    def test_one_replica_continues_with_normal_work(self) -> None:
        scene = Scene(*plan(20)).join("a", "b", "c", "d")
        scene.takes("a", wants=8 * ITEMS)
        scene.leaves("a", Departure.CRASHED)
        alone = [scene.takes(name)[0].isolated for name in ("b", "c", "d")]
        assert alone == [True, True, False]

    def test_a_replica_with_normal_work_drains_for_a_suspect(self) -> None:
        scene = Scene(*plan(20)).join("a", "b", "c")
        scene.takes("a")
        held = {name: scene.takes(name) for name in ("b", "c")}
        scene.leaves("a", Departure.CRASHED)
        assert scene.takes("b", wants=100) == ()
        assert scene.takes("c", wants=100) != ()
        assert scene.commits("b", *held["b"], wants=100).leases[0].isolated

    def test_the_announced_item_of_a_second_death_is_quarantined(self) -> None:
        scene = Scene(*plan(1)).join("a", "b", "c")
        scene.takes("a")
        scene.leaves("a", Departure.CRASHED)
        lease = scene.takes("b")[0]
        scene.asks("b", announced=(lease.id, 2))
        scene.leaves("b", Departure.KILLED_HUNG)
        again = scene.takes("c")[0]
        assert again.isolated
        assert dict(again.quarantined) == {2: "killed the engine twice, alone the second time"}
        assert [(one.chunk, one.row) for one in scene.dispatcher.quarantined] == [(("t", 0), 2)]
        scene.asks("c", committed=(committed(again, quarantined=1),))
        assert scene.counts == ItemCounts(ok=3, quarantined=1)
        assert scene.dispatcher.finished

    def test_an_item_is_innocent_when_its_replica_is_lost(self) -> None:
        scene = Scene(*plan(1)).join("a", "b", "c")
        scene.takes("a")
        scene.leaves("a", Departure.CRASHED)
        lease = scene.takes("b")[0]
        scene.asks("b", announced=(lease.id, 2))
        scene.leaves("b", Departure.LOST)
        assert scene.takes("c")[0].quarantined == {}
        assert scene.dispatcher.quarantined == ()

    def test_a_withdrawn_announcement_accuses_no_item(self) -> None:
        scene = Scene(*plan(1)).join("a", "b")
        scene.takes("a")
        scene.leaves("a", Departure.CRASHED)
        lease = scene.takes("b")[0]
        scene.asks("b", announced=(lease.id, ITEMS - 1))
        scene.asks("b")
        scene.leaves("b", Departure.CRASHED)
        assert scene.dispatcher.quarantined == ()

    def test_too_many_unexplained_deaths_end_the_run(self) -> None:
        scene = Scene(*plan(1), max_chunk_deaths=3)
        for life in range(4):
            assert scene.dispatcher.fatal is None
            scene.join(f"r{life}")
            assert scene.takes(f"r{life}")
            scene.leaves(f"r{life}", Departure.CRASHED)
        assert "4 engines died with chunk 0 of task 't'" in str(scene.dispatcher.fatal)
        assert scene.join("last").takes("last") == ()

    def test_a_suspect_is_not_copied(self) -> None:
        scene = Scene(*plan(1)).join("a", "b", "c")
        scene.takes("a")
        scene.leaves("a", Departure.CRASHED)
        scene.takes("b")
        scene.now = 1000.0
        assert scene.takes("c") == ()


class TestHealth:
    def test_a_silent_replica_is_killed(self) -> None:
        scene = Scene(*plan(1), silence_s=60).join("a", "b")
        scene.now = 50.0
        scene.asks("b")
        scene.now = 61.0
        (verdict,) = scene.dispatcher.tick(scene.now)
        assert (verdict.replica, verdict.cause) == ("a", Departure.KILLED_HUNG)
        assert "has not reported for 61 s" in verdict.reason

    def test_a_kill_order_is_repeated_while_its_replica_stays(self) -> None:
        scene = Scene(silence_s=60, kill_repeat_s=10).join("a")
        spoken = [second for second in range(58, 90) if scene.dispatcher.tick(float(second))]
        assert spoken == [61, 71, 81]

    def test_a_busy_replica_without_progress_is_killed(self) -> None:
        scene = Scene(*plan(1), progress_s=100).join("a")
        scene.takes("a")
        verdicts = []
        for second in range(0, 120, 10):
            scene.now = float(second)
            scene.asks("a", busy=True, tokens=5)
            verdicts.append(scene.dispatcher.tick(scene.now))
        assert [bool(one) for one in verdicts] == [False] * 11 + [True]
        assert "no token for 110 s" in verdicts[-1][0].reason

    @pytest.mark.parametrize("busy", [True, False])
    def test_progress_or_an_empty_engine_keeps_a_replica_alive(self, busy: bool) -> None:
        scene = Scene(*plan(1), progress_s=100).join("a")
        scene.takes("a")
        for second in range(0, 1000, 10):
            scene.now = float(second)
            scene.asks("a", busy=busy, tokens=second if busy else 0)
            assert scene.dispatcher.tick(scene.now) == ()

    def test_an_engine_that_hangs_with_cancelled_work_is_killed(self) -> None:
        scene = Scene(progress_s=100).join("a")
        for second in range(0, 110, 10):
            scene.now = float(second)
            scene.asks("a", wants=0, busy=True, tokens=5)
            assert scene.dispatcher.tick(scene.now) == ()
        (order,) = scene.dispatcher.tick(101.0)
        assert (order.replica, order.cause) == ("a", Departure.KILLED_HUNG)

    def test_lives_are_counted_by_name(self) -> None:
        scene = Scene(*plan(1))
        for _ in range(3):
            scene.join("a").leaves("a", Departure.CRASHED)
        history = scene.dispatcher.progress(0.0).replicas["a"]
        assert (history.departures, history.chunks, history.alive) == (3, 0, False)

    def test_a_successor_with_the_same_name_replaces_the_first(self) -> None:
        scene = Scene(*plan(1)).join("a")
        first = scene.takes("a")[0]
        second = scene.join("a").takes("a")[0]
        assert (first.chunk, second.isolated) == (second.chunk, False)


class TestProgress:
    def test_rates_and_remaining_time(self) -> None:
        scene = Scene(*plan(10)).join("a")
        leases = scene.takes("a", wants=10 * ITEMS)
        for second, lease in enumerate(leases[:5], start=1):
            scene.now = float(second)
            scene.asks("a", wants=0, committed=(committed(lease),), tokens=100 * second, busy=True)
        progress = scene.dispatcher.progress(5.0)
        assert progress.items_per_s == pytest.approx(ITEMS, rel=0.3)
        assert progress.tokens_per_s == pytest.approx(100, rel=0.3)
        assert progress.eta_s == pytest.approx(5, rel=0.3)
        assert (progress.in_flight, progress.leased_chunks) == (5 * ITEMS, 5)
        assert (progress.prompt_tokens, progress.output_tokens) == (50, 100)

    def test_answered_items_count_before_their_chunk_is_committed(self) -> None:
        scene = Scene(*plan(2)).join("a")
        one, two = scene.takes("a", wants=2 * ITEMS)
        scene.asks("a", wants=0, answered=((one.id, 3), (two.id, 1)))
        shown = scene.dispatcher.progress(scene.now)
        assert (shown.answered, shown.counts.total) == (4, 0)
        scene.asks("a", wants=0, answered=((two.id, 2),), committed=(committed(one),))
        shown = scene.dispatcher.progress(scene.now)
        assert (shown.answered, shown.counts.total) == (ITEMS + 2, ITEMS)

    def test_answers_of_a_replica_that_departs_are_lost(self) -> None:
        scene = Scene(*plan(1)).join("a")
        (lease,) = scene.takes("a")
        scene.asks("a", wants=0, answered=((lease.id, 3),))
        scene.leaves("a", Departure.LOST)
        assert scene.dispatcher.progress(scene.now).answered == 0

    def test_copies_of_a_chunk_answer_the_same_items(self) -> None:
        counters = Scene(*plan(1), hedge_blind_s=1.0).join("a", "b")
        (lease,) = counters.takes("a")
        counters.now = 1000.0
        copies = counters.takes("b")
        assert [copy.chunk for copy in copies] == [lease.chunk]
        counters.asks("a", wants=0, answered=((lease.id, 3),))
        counters.asks("b", wants=0, answered=((copies[0].id, 2),))
        assert counters.dispatcher.progress(counters.now).answered == 3
        counters.commits("b", copies[0])
        assert counters.dispatcher.progress(counters.now).answered == ITEMS

    def test_the_rate_counts_answers_and_not_only_commits(self) -> None:
        scene = Scene(chunk(0, items=100)).join("a")
        (lease,) = scene.takes("a", wants=100)
        for second in range(1, 31):
            scene.now = float(second)
            scene.asks("a", wants=0, answered=((lease.id, 2 * second),))
            shown = scene.dispatcher.progress(scene.now)
            assert shown.items_per_s == pytest.approx(2.0)
            assert shown.eta_s == pytest.approx((100 - 2 * second) / 2.0)
        scene.now = 50.0
        scene.commits("a", lease)
        assert scene.dispatcher.progress(scene.now).items_per_s == pytest.approx(2.0)

    def test_the_remaining_time_does_not_rise_while_the_last_items_are_slow(self) -> None:
        scene = Scene(chunk(0, items=50)).join("a")
        (lease,) = scene.takes("a", wants=50)
        scene.now = 5.0
        scene.asks("a", wants=0, answered=((lease.id, 40),))
        shown = []
        for second in range(5, 60):
            scene.now = float(second)
            shown.append(scene.dispatcher.progress(scene.now).eta_s or 0.0)
        assert shown == sorted(shown, reverse=True)
        assert shown[-1] > 0

    def test_no_remaining_time_is_given_before_the_plan_is_complete(self) -> None:
        assert Scene(*plan(1), planned=False).dispatcher.progress(1.0).eta_s is None


def test_a_chunk_takes_less_than_a_hundred_bytes() -> None:
    count = 20_000
    tracemalloc.start()
    dispatcher = Dispatcher()
    before, _ = tracemalloc.get_traced_memory()
    dispatcher.add_chunks(chunk(number, cost=1000.0 + number) for number in range(count))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / count < 100


def test_a_chunk_is_returned_as_it_was_planned() -> None:
    planned = [chunk(0), make_chunk(7, task="ü/t", segment=3, first_row=96, items=32, cost=0.5, digest="not a sha256")]
    scene = Scene(*planned).join("a")
    got = scene.takes("a", wants=100) + scene.takes("a", wants=100)
    assert sorted((lease.chunk for lease in got), key=lambda one: one.task) == planned
