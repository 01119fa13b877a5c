"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalrun_operator.kube.errors import Conflict, TooManyRequests
from evalrun_operator.kube.workqueue import Delays, WorkQueue
from support import virtual_time

NO_JITTER = 1.0
BUSY = TooManyRequests("list", "later", status=429, retry_after=30.0)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Worker:
    """Work that records when it ran; its results and errors are given in advance, by key."""

    seconds: float = 0.0
    answers: dict[str, list[float | Exception | None]] = field(default_factory=dict)
    began: list[tuple[str, float]] = field(default_factory=list)

    async def __call__(self, key: str) -> float | None:
        self.began.append((key, now()))
        await asyncio.sleep(self.seconds)
        answer = self.answers[key].pop(0) if self.answers.get(key) else None
        if isinstance(answer, Exception):
            raise answer
        return answer


def play(
    scene: Callable[[WorkQueue[str]], Awaitable[None]], work: Worker, *, workers: int = 2, delays: Delays | None = None
) -> list[tuple[str, float]]:
    """Play a scene on a queue with workers; return when which work began."""

    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue(delays or Delays(rest=1.0), chance=lambda: NO_JITTER)
        tasks = [asyncio.create_task(queue.run(work)) for _ in range(workers)]
        await scene(queue)
        queue.close()
        await asyncio.gather(*tasks)

    virtual_time.run(run())
    return work.began


def test_ten_events_cost_one_run() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        for _ in range(10):
            queue.add("x")
        await asyncio.sleep(100)

    assert play(scene, Worker()) == [("x", 0.0)]


def test_event_during_work_requeues_the_key_afterwards() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add("x")
        await asyncio.sleep(2)
        queue.add("x")
        await asyncio.sleep(100)

    assert play(scene, Worker(seconds=5)) == [("x", 0.0), ("x", 6.0)]


def test_burst_of_events_waits_for_the_rest() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        for _ in range(40):
            queue.add("x")
            await asyncio.sleep(0.1)
        await asyncio.sleep(100)

    work = Worker(answers={"x": [500.0] * 10})
    assert [when for _, when in play(scene, work)] == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0], abs=0.15)


def test_work_determines_when_its_key_returns() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add("x")
        await asyncio.sleep(100)

    assert play(scene, Worker(answers={"x": [7.0, 20.0, None]})) == [("x", 0.0), ("x", 7.0), ("x", 27.0)]


def test_earlier_of_two_times_counts() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add_after("x", 30)
        queue.add_after("x", 10)
        queue.add_after("x", 50)
        await asyncio.sleep(100)

    assert play(scene, Worker()) == [("x", 10.0)]


def test_failures_back_off_up_to_a_minute() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add("x")
        await asyncio.sleep(400)

    failing = Worker(answers={"x": [Conflict("apply", "changed") for _ in range(11)]})
    times = [when for _, when in play(scene, failing, delays=Delays(rest=0.1))]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60])


def test_c12_groups_take_turns() -> None:
    """A group whose keys are all due at once delays a key of another group by one run."""
    began: dict[str, float] = {}

    async def work(key: str) -> float | None:
        began[key] = now()
        await asyncio.sleep(0.01)
        return None

    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue(group_of=lambda key: key.split("/")[0])
        for number in range(5000):
            queue.add(f"a/{number}")
        worker = asyncio.create_task(queue.run(work))
        await asyncio.sleep(5)
        for key in ("b/x", "b/y", "c/x"):
            queue.add(key)
        await asyncio.sleep(100)
        queue.close()
        await worker

    virtual_time.run(run())
    assert began["b/x"] <= 5.02 and began["c/x"] <= 5.04 and began["b/y"] <= 5.06
    assert len(began) == 5003 and list(began)[:3] == ["a/0", "a/1", "a/2"], "the oldest first within a group"


def test_success_forgets_failures() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add("x")
        await asyncio.sleep(100)

    error = Conflict("apply", "changed")
    times = [when for _, when in play(scene, Worker(answers={"x": [error, error, 10.0, error, None]}))]
    assert times == pytest.approx([0, 1, 2, 12, 13])  # 0.5 s is less than the rest


def test_unexpected_error_is_logged_with_traceback_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add("x")
        await asyncio.sleep(100)

    assert len(play(scene, Worker(answers={"x": [ZeroDivisionError("a defect"), None]}))) == 2
    assert caplog.records[0].exc_info and "a defect" in caplog.text


def test_event_requeues_a_failed_key_sooner() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        queue.add("x")
        await asyncio.sleep(20)
        queue.add("x")
        await asyncio.sleep(1)

    error = Conflict("apply", "changed")
    times = [when for _, when in play(scene, Worker(answers={"x": [error] * 20}))]
    assert times[-2:] == pytest.approx([16.0, 20.0])


def test_retry_after_of_a_busy_server_is_respected() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        for _ in range(50):
            queue.add("x")
            await asyncio.sleep(1)

    times = [when for _, when in play(scene, Worker(answers={"x": [BUSY]}))]
    assert times[:2] == pytest.approx([0.0, 30.0])


def test_closing_finishes_running_work_and_begins_none() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        for key in "xyz":
            queue.add(key)
        await asyncio.sleep(1)

    assert play(scene, Worker(seconds=5)) == [("x", 0.0), ("y", 0.0)]


def test_cancelled_worker_passes_its_wake_up_on() -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue()
        work = Worker()
        first, second = (asyncio.create_task(queue.run(work)) for _ in range(2))
        await asyncio.sleep(1)
        queue.add("x")
        first.cancel()
        await asyncio.sleep(1)
        assert [key for key, _ in work.began] == ["x"]
        queue.close()
        await second

    virtual_time.run(run())


def test_stalled_counts_seconds_without_progress() -> None:
    async def scene(queue: WorkQueue[str]) -> None:
        assert queue.stalled() == 0.0
        await asyncio.sleep(50)
        assert queue.stalled() == 0.0, "nothing is due"
        queue.add("x")
        await asyncio.sleep(9)
        assert queue.stalled() == pytest.approx(9.0)
        await asyncio.sleep(2)
        assert queue.stalled() == 0.0

    play(scene, Worker(seconds=10))


def test_waits_are_reported_when_work_begins() -> None:
    waits: list[float] = []

    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue(Delays(rest=1.0), waited=waits.append)
        task = asyncio.create_task(queue.run(Worker(seconds=5)))
        for key in "xyz":
            queue.add(key)
        queue.add_after("later", 100)
        await asyncio.sleep(200)
        queue.close()
        await task

    virtual_time.run(run())
    assert waits == [0.0, 5.0, 10.0, 0.0]


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 3), st.sampled_from(["add", "add_after"])), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seconds=st.floats(0, 2), failing=st.lists(st.booleans(), max_size=20), workers=st.integers(1, 3))
def test_every_event_is_followed_by_work_and_no_key_is_worked_on_twice_at_once(
    steps: list[tuple[str, float, str]], seconds: float, failing: list[bool], workers: int
) -> None:
    running: Counter[str] = Counter()
    began: list[tuple[str, float]] = []
    events: list[tuple[str, float]] = []
    fails = iter(failing)

    async def work(key: str) -> float | None:
        running[key] += 1
        assert running[key] == 1 and running.total() <= workers
        began.append((key, now()))
        await asyncio.sleep(seconds)
        running[key] -= 1
        if next(fails, False):
            raise Conflict("apply", "changed")
        return None

    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue()
        tasks = [asyncio.create_task(queue.run(work)) for _ in range(workers)]
        for key, pause, what in steps:
            events.append((key, now()))
            queue.add(key) if what == "add" else queue.add_after(key, pause)
            await asyncio.sleep(pause)
        await asyncio.sleep(2000)
        assert len(queue) == 0 and queue.stalled() == 0.0
        queue.close()
        await asyncio.gather(*tasks)

    virtual_time.run(run())
    for (key, when), (_, _, what) in zip(events, steps, strict=True):
        # A look that is asked for later may be one that is under way: only an event wants a new one.
        assert what == "add_after" or any(other == key and start >= when for other, start in began)
