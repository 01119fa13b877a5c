"""When replicas are replaced, and when a run gives up on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.dispatch.restarts import (
    GiveUp,
    Reached,
    Replace,
    RestartDecision,
    RestartPolicy,
    Restarts,
    StopReplacing,
)

POLICY = RestartPolicy()
MOST = POLICY.most_failures
SUSPICIOUS = [departure for departure in Departure if departure.suspicious]


@dataclass
class Scene:
    """Restarts, and what is decided of each replica that leaves."""

    restarts: Restarts = field(default_factory=Restarts)
    now: float = 100.0

    def leaves(
        self,
        departure: Departure = Departure.CRASHED,
        *,
        reached: Reached = Reached.ENGINE,
        working: int = 0,
        quarantined: int = 0,
    ) -> RestartDecision:
        return self.restarts.left(
            departure, "exit code 137", self.now, reached=reached, working=working, quarantined=quarantined
        )

    def pause(self, departure: Departure = Departure.CRASHED) -> float:
        decision = self.leaves(departure)
        assert isinstance(decision, Replace)
        return decision.at - self.now


def test_a_replica_that_crashes_each_time_is_replaced_later_each_time_until_the_run_gives_up() -> None:
    scene = Scene()
    assert [scene.pause() for _ in range(MOST)] == [0, 5, 10, 20, 40]
    assert scene.leaves() == GiveUp(
        "6 replicas in a row left with nothing committed in between; the last: exit code 137"
    )


def test_a_commit_resets_the_count_of_failures() -> None:
    scene = Scene()
    for _ in range(3 * MOST):
        assert scene.pause() == 0
        assert scene.restarts.failures == 1
        scene.restarts.committed()


def test_preemptions_never_count_as_failures() -> None:
    scene = Scene()
    assert {scene.pause(Departure.LOST) for _ in range(10 * MOST)} == {0}
    assert scene.restarts.failures == 0


def test_each_quarantined_item_allows_one_more_failure() -> None:
    scene = Scene()
    for _ in range(MOST + 3):
        assert isinstance(scene.leaves(quarantined=3), Replace)
    assert isinstance(scene.leaves(quarantined=3), GiveUp)


class TestUnstarted:
    """Processes that end before they say a word."""

    def test_after_three_in_a_row_the_run_gives_up_and_says_what_to_look_at(self) -> None:
        scene = Scene()
        decisions = [scene.leaves(reached=Reached.NOTHING) for _ in range(POLICY.most_unstarted + 1)]
        assert [type(decision) for decision in decisions] == [Replace, Replace, GiveUp]
        assert isinstance(decisions[-1], GiveUp)
        assert "3 processes in a row ended without a word; the last: exit code 137\nhint: " in decisions[-1].message

    def test_one_that_starts_begins_the_count_anew(self) -> None:
        scene = Scene()
        for reached in [Reached.NOTHING, Reached.NOTHING, Reached.PROCESS, Reached.NOTHING, Reached.NOTHING]:
            assert isinstance(scene.leaves(reached=reached), Replace)

    def test_beside_replicas_that_work_they_end_nothing(self) -> None:
        scene = Scene()
        for _ in range(MOST):
            assert isinstance(scene.leaves(reached=Reached.NOTHING, working=1), Replace)
        assert scene.leaves(reached=Reached.NOTHING, working=1) == StopReplacing(1)


class TestFailedStarts:
    """Replicas that crash before they are ready, beside others that work."""

    def test_after_too_many_the_run_goes_on_with_those_that_work(self) -> None:
        scene = Scene()
        for _ in range(MOST):
            assert isinstance(scene.leaves(reached=Reached.PROCESS, working=2), Replace)
        assert scene.leaves(reached=Reached.PROCESS, working=2) == StopReplacing(2)
        assert scene.restarts.failures == 0

    def test_commits_do_not_reset_their_count(self) -> None:
        scene = Scene()
        for _ in range(MOST):
            scene.leaves(reached=Reached.PROCESS, working=1)
            scene.restarts.committed()
        assert scene.leaves(reached=Reached.PROCESS, working=1) == StopReplacing(1)

    def test_a_working_replica_is_still_replaced_when_it_leaves(self) -> None:
        scene = Scene()
        for _ in range(MOST + 1):
            scene.leaves(reached=Reached.PROCESS, working=1)
        assert scene.pause() == POLICY.longest_pause

    def test_without_a_working_replica_they_are_failures(self) -> None:
        scene = Scene()
        for _ in range(MOST):
            assert isinstance(scene.leaves(reached=Reached.PROCESS), Replace)
        assert isinstance(scene.leaves(reached=Reached.PROCESS), GiveUp)


class TestDue:
    """Replacements are started when their pause is over."""

    def test_each_is_started_once(self) -> None:
        scene = Scene()
        for _ in range(3):
            scene.leaves()
        assert scene.restarts.take_due(100) == 1
        assert scene.restarts.take_due(104.9) == 0
        assert scene.restarts.take_due(200) == 2
        assert scene.restarts.take_due(300) == 0

    def test_nothing_is_due_if_nothing_left(self) -> None:
        assert Restarts().take_due(1e9) == 0


leaving = st.tuples(
    st.sampled_from([departure for departure in Departure if departure is not Departure.DRAINED]),
    st.sampled_from([Reached.PROCESS, Reached.ENGINE]),
    st.integers(0, 3),
    st.integers(0, 4),
    st.floats(0, 100),
)


@given(st.lists(st.one_of(st.none(), leaving), max_size=60))
def test_every_departure_is_replaced_once_or_else_ends_something(
    events: list[tuple[Departure, Reached, int, int, float] | None],
) -> None:
    """None is a commit."""
    scene = Scene(now=0.0)
    replaced = started = 0
    for event in events:
        started += scene.restarts.take_due(scene.now)
        if event is None:
            scene.restarts.committed()
            assert scene.restarts.failures == 0
            continue
        departure, reached, working, quarantined, passed = event
        scene.now += passed
        before = scene.restarts.failures
        decision = scene.leaves(departure, reached=reached, working=working, quarantined=quarantined)
        assert scene.restarts.failures - before in ((0, 1) if departure.suspicious else (0,))
        match decision:
            case Replace(at):
                replaced += 1
                assert scene.now <= at <= scene.now + POLICY.longest_pause
                assert scene.restarts.failures <= MOST + quarantined
            case StopReplacing():
                assert reached is Reached.PROCESS
                assert decision.working == working > 0, "a run without replicas would stand still"
            case GiveUp():
                assert scene.restarts.failures > MOST + quarantined
    started += scene.restarts.take_due(math.inf)
    assert started == replaced


@given(st.lists(st.sampled_from(SUSPICIOUS), min_size=1, max_size=MOST), st.floats(0, 1e6))
def test_pauses_never_shorten_while_failures_go_on(departures: list[Departure], now: float) -> None:
    scene = Scene(now=now)
    pauses = [scene.pause(departure) for departure in departures]
    assert pauses == pytest.approx(sorted(pauses))
