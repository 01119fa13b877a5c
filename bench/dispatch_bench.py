"""How well the dispatch policy uses its replicas, and how fast it decides.

Two measurements, both of the real ``Dispatcher``:

*Efficiency*, in virtual time. ideal = all work / the speed of all replicas together; efficiency = ideal / makespan.
Included: replicas with 32 slots (sequences in the engine); an item occupies one slot for its work / 50 tokens/s
whatever the other slots do (decoding bound by memory: an empty slot is lost, nothing gets faster in the tail, which is
the hard case); items start in the order of their leases; the driver knows an estimate of an item's work (lognormal,
median 170 tokens, sigma 0.6), the engine needs that times a lognormal error (sigma 0.3, mean 1); chunks of at most 32
items and 4 s of one replica's work; credit for the slots and 64 items in reserve; 5 ms from a report to its order; a
report at once when a chunk is committed or 32 items are wanted, else every second; 50 ms to store a part; the plan is
known at the start; the ideal run is 600 s long. It leaves out loading, prefill, prefix caches and failures.

*bound* is what a scheduler without any of these costs would reach on the same items: each slot takes the next item
without delay, from the costliest chunk first. Long items that start late cost the rest, with any scheduler. That cost
is a fixed time, so a shorter run loses a larger share: with an ideal of 300 s the medians are 0.958 for 8 and 0.941 for
32 replicas (bounds about 0.957 and 0.955).

*Driver at 10 million items*, in real time: 200,000 chunks of 50 items, 128 replicas that report as fast as they are
answered. The values are chunks leased and committed a second, and the growth of the driver's memory.
"""

from __future__ import annotations

import heapq
import random
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.records.messages import Committed, Lease, Report
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts

SLOTS = 32
TOKENS_PER_S = 50.0
CREDIT = SLOTS + 64
HUNGRY = 32
CHUNK_ITEMS = 32
CHUNK_S = 4.0
IDEAL_S = 600.0
ROUND_TRIP_S = 0.005
REPORT_S = 1.0
STORE_S = 0.05
SEEDS = {8: 7, 32: 5, 128: 3}
"""Map from number of replicas to number of seeds."""


@dataclass(frozen=True, slots=True)
class Work:
    """Chunks, and the real work of each item in tokens."""

    chunks: list[Chunk]
    real: dict[tuple[str, int], list[float]]
    total: float


def draw(rng: random.Random, speed: float) -> Work:
    """Draw enough items for ``IDEAL_S`` seconds of replicas with a total speed of ``speed`` tokens/s."""
    chunks: list[Chunk] = []
    real: dict[tuple[str, int], list[float]] = {}
    total, most = 0.0, CHUNK_S * SLOTS * TOKENS_PER_S
    while total < IDEAL_S * speed:
        estimates: list[float] = []
        while len(estimates) < CHUNK_ITEMS and sum(estimates) < most:
            estimates.append(rng.lognormvariate(5.14, 0.6))
        task, number = f"task{len(chunks) % 10}", len(chunks) // 10
        chunk = Chunk(
            task, number, 0, 0, len(estimates), sum(estimates), sha256(f"{task}{number}".encode()).hexdigest()
        )
        chunks.append(chunk)
        real[chunk.id] = [estimate * rng.lognormvariate(-0.045, 0.3) for estimate in estimates]
        total += sum(real[chunk.id])
    chunks.sort(key=lambda chunk: chunk.id)
    return Work(chunks, real, total)


@dataclass(slots=True)
class Engine:
    """Replica with slots, a queue, and the remaining items of each lease."""

    name: str
    speed: float
    free: int = SLOTS
    queue: deque[tuple[int, float]] = field(default_factory=deque)
    left: dict[int, int] = field(default_factory=dict)
    """Map from lease to number of unfinished items."""
    slots: dict[int, int] = field(default_factory=dict)
    """Map from lease to number of its items in slots."""
    chunks: dict[int, Chunk] = field(default_factory=dict)
    news: list[Committed] = field(default_factory=list)
    asked: bool = True
    polls: int = 0


class Efficiency:
    """Run in virtual time."""

    def __init__(self, speeds: list[float], seed: int, policy: DispatchPolicy | None = None) -> None:
        self.work = draw(random.Random(seed), sum(speeds) * SLOTS * TOKENS_PER_S)
        self.ideal = self.work.total / (sum(speeds) * SLOTS * TOKENS_PER_S)
        self.dispatcher = Dispatcher(policy or DispatchPolicy())
        self.dispatcher.add_chunks(self.work.chunks)
        self.dispatcher.planning_done()
        self.engines = [Engine(f"r{number}", speed) for number, speed in enumerate(speeds)]
        self.events: list[tuple[float, int, str, Engine, int]] = []
        self.made = 0
        self.now = 0.0

    def at(self, delay: float, kind: str, engine: Engine, argument: int = 0) -> None:
        """Schedule an event in ``delay`` seconds."""
        self.made += 1
        heapq.heappush(self.events, (self.now + delay, self.made, kind, engine, argument))

    def play(self) -> float:
        """Run to the end, and return the makespan in seconds."""
        for engine in self.engines:
            self.dispatcher.join(engine.name, 0.0)
            self.answer(engine)
        while not self.dispatcher.finished:
            self.now, _, kind, engine, argument = heapq.heappop(self.events)
            match kind:
                case "item":
                    self.item_done(engine, argument)
                case "stored":
                    self.stored(engine, argument)
                case "report":
                    self.exchange(engine)
                case "poll" if engine.polls == argument:
                    self.answer(engine)
        return self.now

    def answer(self, engine: Engine) -> None:
        """Answer the driver's call; the order arrives a round trip later."""
        if engine.asked:
            engine.asked = False
            engine.polls += 1
            self.at(ROUND_TRIP_S, "report", engine)

    def exchange(self, engine: Engine) -> None:
        """Send a report and process the order; the round trip was counted before the report."""
        inside = SLOTS - engine.free + len(engine.queue)
        news, engine.news = tuple(engine.news), []
        report = Report(committed=news, wants=max(0, CREDIT - inside), busy=inside > 0, tokens=int(1000 * self.now))
        order = self.dispatcher.report(engine.name, report, self.now)
        engine.asked = True
        for lease_id in order.cancel:
            if engine.left.pop(lease_id, None) is not None:
                engine.free += engine.slots.pop(lease_id)
                engine.queue = deque(entry for entry in engine.queue if entry[0] != lease_id)
        for lease in order.leases:
            self.take(engine, lease)
        self.fill(engine)
        if engine.news:
            self.answer(engine)
        else:
            self.at(REPORT_S, "poll", engine, engine.polls)

    def take(self, engine: Engine, lease: Lease) -> None:
        """Queue a lease's items."""
        engine.left[lease.id] = lease.chunk.items
        engine.slots[lease.id] = 0
        engine.chunks[lease.id] = lease.chunk
        engine.queue.extend((lease.id, tokens) for tokens in self.work.real[lease.chunk.id])

    def fill(self, engine: Engine) -> None:
        """Put queued items into free slots."""
        while engine.free and engine.queue:
            lease_id, tokens = engine.queue.popleft()
            engine.free -= 1
            engine.slots[lease_id] += 1
            self.at(tokens / (TOKENS_PER_S * engine.speed), "item", engine, lease_id)

    def item_done(self, engine: Engine, lease_id: int) -> None:
        """Finish an item, unless its lease was cancelled."""
        if lease_id not in engine.left:
            return
        engine.free += 1
        engine.slots[lease_id] -= 1
        engine.left[lease_id] -= 1
        if not engine.left[lease_id]:
            del engine.left[lease_id], engine.slots[lease_id]
            self.at(STORE_S, "stored", engine, lease_id)
        self.fill(engine)
        if CREDIT - (SLOTS - engine.free) - len(engine.queue) >= HUNGRY and engine.queue:
            self.answer(engine)

    def stored(self, engine: Engine, lease_id: int) -> None:
        """Record that a part is in the store."""
        chunk = engine.chunks.pop(lease_id)
        engine.news.append(Committed(lease_id, chunk.id, ItemCounts(ok=chunk.items), True, 0, 0, STORE_S))
        self.answer(engine)


def bound(run: Efficiency) -> float:
    """Compute the efficiency of one central list of items, without chunks, messages or reports."""
    slots = [(0.0, engine.speed) for engine in run.engines for _ in range(SLOTS)]
    end = 0.0
    for chunk in sorted(run.work.chunks, key=lambda one: -one.cost):
        for tokens in run.work.real[chunk.id]:
            free, speed = slots[0]
            done = free + tokens / (TOKENS_PER_S * speed)
            end = max(end, done)
            heapq.heapreplace(slots, (done, speed))
    return run.ideal / end


def efficiencies(replicas: int, slow: float | None = None) -> dict[str, float]:
    """Measure the efficiency over the seeds; ``slow`` is the speed of the first replica, if it differs."""
    speeds = [1.0] * replicas
    if slow is not None:
        speeds[0] = slow
    found, hedged, bounds = [], [], []
    for seed in range(SEEDS[replicas]):
        run = Efficiency(speeds, seed)
        found.append(run.ideal / run.play())
        bounds.append(bound(run))
        hedged.append(run.dispatcher.progress(run.now).hedged)
    return {
        "min": min(found),
        "median": statistics.median(found),
        "max": max(found),
        "median_bound": statistics.median(bounds),
        "median_makespan_over_ideal": statistics.median(1 / one for one in found),
        "worst_makespan_over_ideal": 1 / min(found),
        "chunks": len(run.work.chunks),
        "hedged": statistics.mean(hedged),
    }


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def planned(chunks: int, items: int) -> Iterator[Chunk]:
    """Stream a plan of 100 leaf tasks."""
    rng = random.Random(0)
    for number in range(chunks):
        digest = sha256(str(number).encode()).hexdigest()
        yield Chunk(f"task{number % 100}", number // 100, number // 2000, 0, items, rng.lognormvariate(8, 0.5), digest)


def driver(chunks: int = 200_000, items: int = 50, replicas: int = 128) -> dict[str, float]:
    """Lease and commit ``chunks * items`` items as fast as the dispatcher decides."""
    before = resident_bytes()
    dispatcher = Dispatcher(DispatchPolicy())
    start = time.perf_counter()
    dispatcher.add_chunks(planned(chunks, items))
    dispatcher.planning_done()
    added = time.perf_counter()
    after_plan = resident_bytes()
    held: dict[str, tuple[Lease, ...]] = {f"r{number}": () for number in range(replicas)}
    for name in held:
        dispatcher.join(name, 0.0)
    now, peak, slowest = 0.0, after_plan, 0.0
    while not dispatcher.finished:
        now += 0.01
        for name, leases in held.items():
            done = tuple(Committed(one.id, one.chunk.id, ItemCounts(ok=items), True, 0, 0, 0.0) for one in leases)
            asked = time.perf_counter()
            held[name] = dispatcher.report(
                name, Report(committed=done, wants=4 * items, busy=True, tokens=1), now
            ).leases
            slowest = max(slowest, time.perf_counter() - asked)
        peak = max(peak, resident_bytes())
    seconds = time.perf_counter() - added
    return {
        "items": chunks * items,
        "chunks_planned_per_s": chunks / (added - start),
        "chunks_per_s": chunks / seconds,
        "items_per_s": chunks * items / seconds,
        "slowest_decision_ms": 1000 * slowest,
        "plan_bytes_per_chunk": (after_plan - before) / chunks,
        "peak_growth_mb": (peak - before) / 1e6,
    }


def run() -> dict[str, Mapping[str, float]]:
    """Measure everything, print a table, and return it."""
    results: dict[str, Mapping[str, float]] = {"driver": driver()}
    for replicas in (8, 32, 128):
        results[f"{replicas} replicas"] = efficiencies(replicas)
        results[f"{replicas} replicas, one 30% slow"] = efficiencies(replicas, slow=0.7)
    head = (
        f"{'min':>6} {'median':>6} {'max':>6} {'bound':>6}  {'makespan/ideal, worst':>21} {'chunks':>7} {'hedged':>6}"
    )
    print(f"{'efficiency: ideal / makespan':32} {head}")
    for name, row in results.items():
        if "median" in row:
            print(
                f"{name:32} {row['min']:6.3f} {row['median']:6.3f} {row['max']:6.3f} {row['median_bound']:6.3f}  "
                f"{row['worst_makespan_over_ideal']:21.3f} {row['chunks']:7.0f} {row['hedged']:6.1f}"
            )
    print("driver at 10 million items:", ", ".join(f"{key} {value:,.1f}" for key, value in results["driver"].items()))
    return results


if __name__ == "__main__":
    run()
