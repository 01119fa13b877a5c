"""The pump: what is in the engine, what of it ends, what is given up. The engine and the clock are the test's."""

from __future__ import annotations

import pytest

from evalrun_api.metrics.driver import REQUEST_SECONDS
from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.records.messages import Latencies, Lease
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemStatus, Outcome
from evalrun_runner.replica.pump import Pump
from evalrun_runner.replica.work import ChunkWork, ItemWork
from support.builders import generate, likelihood, make_chunk, make_item, rolling
from support.engines import Clock, ScriptedEngine

PLANNER = RequestPlanner(TextCodec(ByteTokenizer()), max_model_len=1000, fast=False, seed=1)
DEADLINE = 60.0


class Scene:
    """A pump, its engine and its clock."""

    def __init__(self, *, slots: int = 4) -> None:
        self.engine, self.clock = ScriptedEngine(max_num_seqs=slots), Clock()
        self.pump = Pump(self.engine, item_deadline=DEADLINE, clock=self.clock)

    def put(self, lease: int, *items: Item) -> ChunkWork:
        """A chunk of these items, all of them given to the pump."""
        work = ChunkWork(Lease(lease, make_chunk(lease, items=len(items))), items, [])
        for row, item in enumerate(items):
            self.pump.put(work, ItemWork(row, item, PLANNER.plan(item)))
        return work

    def turn(self) -> list[ChunkWork]:
        """One turn of the pump; the chunks that were completed by it."""
        return [work for work in dict.fromkeys(work for work, _ in self.pump.turn()) if work.complete]

    def prompts(self) -> list[str]:
        """What is in the engine."""
        return [bytes(call.prompt).decode() for call in self.engine.running.values()]


def ask(text: str) -> Item:
    return make_item(generate(text))


def choose(*letters: str) -> Item:
    """In the reference form: a call a letter."""
    return make_item(*(likelihood("Q:", letter) for letter in letters))


def texts(outcome: Outcome) -> list[str]:
    return [str(response.value) for repeats in outcome.responses for response in repeats]


def test_an_item_ends_with_its_last_call() -> None:
    scene = Scene()
    work = scene.put(1, choose("A", "B"))
    assert scene.turn() == []
    scene.engine.finish(b"Q:B")
    assert scene.turn() == []
    assert (scene.pump.running_items, work.outcomes) == (1, {})
    scene.clock.now += 3
    scene.engine.finish(b"Q:A")
    assert scene.turn() == [work]
    assert work.outcomes[0].status is ItemStatus.OK
    (a,), (b,) = work.outcomes[0].responses
    assert (a.value, b.value) == ((-65.0, False), (-66.0, True))
    assert (a.seconds, b.seconds) == (3.0, 0.0)
    assert scene.pump.idle
    assert scene.pump.tokens == 10
    assert scene.pump.steps == 3


def test_answered_calls_are_counted_by_their_seconds() -> None:
    scene = Scene()
    bounds = REQUEST_SECONDS.buckets
    assert scene.pump.latencies == Latencies((0,) * (len(bounds) + 1), 0.0)
    scene.pump = Pump(scene.engine, item_deadline=1e9, clock=scene.clock)
    taken = (0.0, 0.05, 0.06, 5.0, 600.0, 600.5)
    for seconds in taken:
        scene.put(1, ask("x"))
        scene.turn()
        scene.clock.now += seconds
        scene.engine.finish()
        scene.turn()
    found = scene.pump.latencies
    expected = [0] * (len(bounds) + 1)
    for seconds in taken:
        expected[next((n for n, bound in enumerate(bounds) if seconds <= bound), len(bounds))] += 1
    assert found.buckets == tuple(expected)
    assert (found.buckets[0], found.buckets[-2], found.buckets[-1]) == (2, 1, 1)
    assert found.total == pytest.approx(sum(taken))


def test_calls_without_an_answer_have_no_seconds() -> None:
    scene = Scene()
    scene.engine.refused.add(tuple(b"bad"))
    scene.put(1, ask("bad"), ask("dropped"))
    scene.put(2, ask("late"))
    scene.turn()
    scene.pump.drop(1)
    scene.clock.now += DEADLINE + 1
    scene.turn()
    assert scene.pump.idle
    assert sum(scene.pump.latencies.buckets) == scene.pump.latencies.total == 0


def test_the_engine_is_kept_full_and_no_fuller() -> None:
    scene = Scene(slots=2)
    work = scene.put(1, *(ask(f"q{n}") for n in range(6)))
    scene.turn()
    # Two run, two wait in the engine so that a slot is filled in the step in which it becomes free.
    assert scene.prompts() == ["q0", "q1", "q2", "q3"]
    assert (scene.pump.waiting_items, scene.pump.running_items) == (2, 4)
    scene.engine.finish(b"q1")
    scene.turn()
    scene.turn()
    assert scene.prompts() == ["q0", "q2", "q3", "q4"]
    for _ in range(3):
        scene.engine.finish()
        scene.turn()
    assert work.complete


def test_interleaved_chunks_are_returned_once_each_when_complete() -> None:
    scene = Scene()
    one, two = scene.put(1, ask("a"), ask("b")), scene.put(2, ask("c"), ask("d"))
    scene.turn()
    scene.engine.finish(b"a", b"c", b"d")
    assert scene.turn() == [two]
    scene.engine.finish()
    assert scene.turn() == [one]
    assert scene.turn() == []
    assert texts(one.outcomes[1]) == ["answer to [98], seed None"]


def test_an_item_without_calls_ends_without_the_engine() -> None:
    scene = Scene()
    work = scene.put(1, make_item(rolling("")), make_item(likelihood("Q:", "")))
    assert scene.turn() == [work]
    assert [outcome.responses[0][0].value for outcome in work.outcomes.values()] == [0, (0, True)]
    assert (scene.engine.steps, scene.pump.idle) == (0, True)


def test_an_item_with_a_refused_call_fails_and_drops_its_other_calls() -> None:
    scene = Scene()
    scene.engine.refused.add(tuple(b"Q:B"))
    work = scene.put(1, choose("A", "B", "C"), ask("fine"))
    scene.turn()
    assert work.outcomes[0] == Outcome(ItemStatus.FAILED, error="RefusedByEngine: too strange")
    assert scene.prompts() == ["fine"]
    assert scene.engine.aborted == ["0"]
    assert scene.pump.running_items == 1
    scene.engine.finish()
    assert scene.turn() == [work]


def test_a_chunk_of_nothing_but_refusals_is_complete() -> None:
    scene = Scene()
    scene.engine.refused.add(tuple(b"bad"))
    work = scene.put(1, ask("bad"), ask("bad"))
    assert scene.turn() == [work]
    assert scene.pump.idle


def test_an_item_that_takes_too_long_fails_and_the_others_continue() -> None:
    scene = Scene(slots=1)
    work = scene.put(1, ask("slow"), ask("next"), ask("later"))
    scene.turn()
    scene.clock.now += DEADLINE - 10
    scene.engine.finish(b"next")
    scene.turn()
    scene.turn()
    assert scene.prompts() == ["slow", "later"]
    scene.clock.now += 11
    scene.turn()
    assert work.outcomes[0] == Outcome(ItemStatus.FAILED, error="DeadlineExceeded: no answer within 60 s in the engine")
    # The later one came into the engine later; its time is not over.
    assert scene.prompts() == ["later"]
    scene.engine.finish()
    assert scene.turn() == [work]


def test_a_deadline_completes_a_chunk() -> None:
    scene = Scene()
    work = scene.put(1, ask("slow"))
    scene.turn()
    scene.clock.now += DEADLINE + 1
    assert scene.turn() == [work]
    assert scene.pump.idle


def test_a_dropped_lease_leaves_engine_and_queue_and_others_stay() -> None:
    scene = Scene(slots=1)
    dropped, kept = scene.put(1, choose("A", "B"), ask("waits")), scene.put(2, ask("stays"))
    scene.turn()
    assert scene.prompts() == ["Q:A", "Q:B"]
    scene.pump.drop(1)
    assert (scene.prompts(), scene.pump.waiting_items, scene.pump.busy) == ([], 1, False)
    scene.turn()
    assert scene.prompts() == ["stays"]
    scene.engine.finish()
    assert scene.turn() == [kept]
    assert dropped.outcomes == {}
    scene.pump.drop(99)
    assert scene.pump.idle
