"""A whole run as a discrete-event simulation, decided by one integer: the project's own decisions, simulated effects.

What is real: the driver's ``Loop`` with its ``Exchange``, ``Flush``, ``Restarts`` and ``Dispatcher``; the replica's
``ReplicaState``; the records that pass between them; the keys of ``layout``. What is simulated: processes (attempts,
two drivers at once, superseded ones), engines of several speeds with poison items, hangs and partitions, the messages,
and the ledger (objects created if absent; ``tests/simulation`` runs some hundreds of seeds over the real one).

What the scheduler does: kills, loses, cuts off, hangs, drains and adds replicas, lets new ones fail before they are
ready; kills and stops drivers and starts second ones; delays messages (now and then by seconds), repeats commits in
later reports, delivers reports of replicas that were given up, lets them commit late, loses the answer to a commit,
damages parts as they are written, adds chunks while replicas work. It does not lose the order to a living replica,
which Ray's actor calls cannot either. A random crash or cut is not played as the death of a replica that runs a suspect
alone: nothing could tell it from a poison item there; such a replica is lost with its node instead.

What is checked, in each seed:
- I1: every planned item has exactly one end: the parts cover the plan, each chunk once, with the counts it must have,
  and the dispatcher's counts agree; only poison items are quarantined;
- I2: COMPLETE is created once, with every part there and sound, by a driver that was the highest epoch when it looked
  (a look at the epochs and a move of a corrupt part are one step here);
- I4: items redone are at most what was in flight on what died, and what was set aside;
- a run that stops early is made of one prefix, whichever driver decided it, and every other item is skipped;
- a lease is never granted beyond the credit by a chunk, and an isolated one is alone on its replica;
- an isolated item starts only after the driver has heard of it; a drained replica gives back all that it holds;
- a driver gives up only after more failures in a row than it must bear;
- the run ends in bounded virtual time.

``python tests/support/simulation.py SEED`` replays a seed and prints what happened.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

from evalrun_api.wire.outputs import StopCause, StopRecord
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.dispatch.restarts import RestartPolicy, Restarts
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.early_stopping import DamagedPrefix, EarlyStopping, StopFound
from evalrun_runner.driver.exchange import Exchange
from evalrun_runner.driver.loop import Loop
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.reporter import Reporter
from evalrun_runner.errors import Interrupted, RunFailed, Superseded
from evalrun_runner.planning.planning import Planned
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts
from evalrun_runner.replica.state import ReplicaState
from support.simulation_book import Book
from support.simulation_fleet import SimulatedFleet
from support.simulation_world import (
    LOOKS,
    ChunkId,
    Clock,
    FaultKind,
    InvariantBroken,
    Ledger,
    MemoryLedger,
    Scenario,
    draw,
)

LIMIT_S = 1000.0
"""Virtual seconds within which every seed must end; 10,000 seeds took at most about a third of it."""
HEARTBEAT_S = 4.0
"""Virtual seconds between two turns of a driver's loop in which nothing happens."""
POLICY = DispatchPolicy(
    silence_s=15.0, progress_s=14.0, hedge_blind_s=8.0, speed_half_life_s=20.0, max_failed_items=1000
)


Found = StopRecord | DamagedPrefix | None
Look = Callable[[], Found]


@dataclass(frozen=True)
class Classes:
    """The project's classes that a run is played with; mutants take their places."""

    dispatcher: Callable[[DispatchPolicy], Dispatcher] = Dispatcher
    restarts: Callable[[], Restarts] = Restarts
    replica_state: type[ReplicaState] = ReplicaState
    early_stopping: type[EarlyStopping] = EarlyStopping


class Run:
    """One simulated run: the clock, the ledger, the drivers, and the faults that strike them."""

    def __init__(
        self, seed: int, classes: Classes | None = None, ledger: Ledger | None = None, trace: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.scenario: Scenario = draw(self.rng)
        self.classes = classes or Classes()
        self.ledger: Ledger = ledger if ledger is not None else MemoryLedger()
        self.clock = Clock(LIMIT_S)
        self.drivers: list[DriverProcess] = []
        self.torn_writes_left = self.scenario.torn_writes
        self.completions = 0
        self._created: set[ChunkId] = set()
        self.seen: Counter[str] = Counter()
        """What happened, and how often."""
        self.trace = trace

    def play(self) -> Run:
        """Run to the end and check it. Raises ``InvariantBroken``."""
        self.start_driver()
        for time, kind in self.scenario.faults:
            self.clock.after(time, partial(self.strike, kind))
        self.clock.run()
        self.check_end()
        return self

    def say(self, text: str) -> None:
        """Tell what happens, in a replay."""
        if self.trace:
            print(f"{self.clock.now:9.3f}  {text}")

    def latency(self) -> float:
        """Seconds that a message takes; one in a hundred takes very long."""
        luck = self.rng.random()
        return 50.0 * luck * 5.0 + 0.5 if luck < 0.01 else self.scenario.latency_s * (0.5 + luck)

    def start_driver(self) -> None:
        """Start a driver process, unless the run is complete."""
        if self.ledger.completed_by() is None:
            driver = DriverProcess(self)
            self.drivers.append(driver)
            driver.heartbeat()

    def driver_gone(self) -> None:
        """The operator's part: while no driver is there and the run is not complete, the next attempt starts."""
        if not any(driver.alive for driver in self.drivers):
            self.clock.after(self.rng.uniform(1, 5), self.start_if_none)

    def start_if_none(self) -> None:
        """Start the next attempt if nothing else did in the meantime."""
        if not any(driver.alive for driver in self.drivers):
            self.start_driver()

    def strike(self, kind: FaultKind) -> None:
        """A fault strikes somewhere."""
        drivers = [driver for driver in self.drivers if driver.alive]
        if not drivers:
            return
        driver = self.rng.choice(drivers)
        self.say(f"fault: {kind} at epoch {driver.epoch}")
        if kind is FaultKind.KILL_DRIVER:
            self.rng.choice((driver.die, driver.stop))()
        elif kind is FaultKind.SECOND_DRIVER:
            self.start_driver()
        else:
            driver.fleet.strike(kind)

    def created(self, chunk: ChunkId) -> None:
        """I1: of all who write a part, one creates it."""
        if chunk in self._created:
            raise InvariantBroken(f"I1: the part of {chunk} was created twice")
        self._created.add(chunk)

    def set_aside(self, chunk: ChunkId) -> None:
        """Move a damaged part out of the way."""
        self.ledger.set_aside(chunk)
        self._created.discard(chunk)

    def check_complete(self, driver: DriverProcess) -> None:
        """I1 and I2 at the moment in which a driver creates COMPLETE."""
        self.completions += 1
        if self.completions > 1:
            raise InvariantBroken("I2: COMPLETE was created twice")
        every, stop = self.scenario.by_id, self.ledger.recorded_stop()
        planned = {chunk: one for chunk, one in every.items() if stop is None or stop.counts_in(*chunk)}
        self.seen["stopped early"] += len(planned) < len(every)
        parts = {chunk: part for chunk, part in self.ledger.parts() if chunk in planned}
        if parts.keys() != planned.keys():
            raise InvariantBroken(f"I2: COMPLETE with {len(parts)} parts of {len(planned)}")
        total = ItemCounts()
        for chunk, part in parts.items():
            if not part.sound:
                raise InvariantBroken(f"I2: COMPLETE with a corrupt part of {chunk}")
            if part.digest != planned[chunk].digest or part.counts != self.scenario.counts(chunk):
                raise InvariantBroken(f"I1: the part of {chunk} holds {part}, not {self.scenario.counts(chunk)}")
            total += part.counts
        progress = driver.dispatcher.progress(self.clock.now)
        items, counted = (sum(chunk.items for chunk in some.values()) for some in (every, planned))
        told = (progress.planned, progress.counts, progress.counts.total, progress.skipped)
        if told != (items, total, counted, items - counted):
            raise InvariantBroken(f"I1: {items} planned, of which {counted} count; the dispatcher says {progress}")

    def check_end(self) -> None:
        """COMPLETE is there, and everybody has left."""
        if self.ledger.completed_by() is None:
            raise InvariantBroken("termination: everything stands still and COMPLETE is not there")
        if any(driver.alive for driver in self.drivers):
            raise InvariantBroken("termination: a driver is left over")
        stop, parts = self.ledger.recorded_stop(), dict(self.ledger.parts())
        if any((stop is None or stop.counts_in(*chunk)) and chunk not in parts for chunk in self.scenario.by_id):
            raise InvariantBroken("I2: parts are missing after COMPLETE")


class StopsAt:
    """A ``PrefixJudge`` that stops the run at a look."""

    looks = LOOKS

    def __init__(self, run: Run, look: int) -> None:
        self._run = run
        self._look = look

    def look(self, prefix: Mapping[str, int], look: int) -> StopFound | DamagedPrefix | None:
        """Read the parts of the prefix, and stop from its look on."""
        parts, planned = dict(self._run.ledger.parts()), self._run.scenario.by_id
        wanted = [one for chunk, one in planned.items() if chunk[1] < prefix[chunk[0]]]
        if damaged := tuple(one for one in wanted if one.id not in parts or not parts[one.id].sound):
            return DamagedPrefix(damaged)
        return StopFound(StopCause.GATES) if look >= self._look else None

    def check(self, prefix: Mapping[str, int], look: int) -> StopFound | DamagedPrefix | None:
        """Nothing is certain."""
        return None


class StopDoor:
    """A driver's ledger, as its early stop sees it."""

    def __init__(self, driver: DriverProcess) -> None:
        self._driver = driver

    def recorded_stop(self) -> StopRecord | None:
        return self._driver.run.ledger.recorded_stop()

    def record_stop(self, epoch: int, record: StopRecord) -> StopRecord:
        return self._driver.run.ledger.record_stop(epoch, record)

    def set_aside(self, chunk: Chunk, epoch: int) -> bool:
        part = dict(self._driver.run.ledger.parts()).get(chunk.id)
        if part is None or part.sound:
            return False
        self._driver.run.set_aside(chunk.id)
        return True


class SlowPlan:
    """A ``PlanSource`` that has the next few chunks every second or so."""

    def __init__(self, run: Run, kept: dict[ChunkId, ItemCounts]) -> None:
        self._run = run
        self._chunks: list[Chunk] = list(run.scenario.by_id.values())
        self._kept = kept
        self._next_at = 0.0
        self._noticed = False
        self.done = False

    def take(self) -> list[Planned]:
        """Return the chunks that were planned since the last call."""
        if self.done or self._run.clock.now < self._next_at:
            return []
        some = self._run.rng.randint(1, 20)
        chunks, self._chunks = self._chunks[:some], self._chunks[some:]
        self._next_at = self._run.clock.now + self._run.rng.uniform(0, 2)
        self.done = not self._chunks
        kept = {one.id: self._kept[one.id] for one in chunks if one.id in self._kept}
        return [Planned(tuple(chunks), kept, 0, places={one.id: one.number / 10 for one in chunks})]


class Request(Cancellation):
    """A cancellation that nobody waits for in real time."""

    def wait(self, seconds: float) -> bool:
        return self.requested


class Silent:
    """A ``Watcher`` for a replay's trace."""

    def __init__(self, driver: DriverProcess) -> None:
        self._driver = driver

    def show(self, view: View) -> None:
        """Nobody looks."""

    def log(self, line: str) -> None:
        self._driver.run.say(f"epoch {self._driver.epoch}: {line}")


class DriverProcess:
    """A driver: the real loop, which takes a turn when something happens, and a fleet of its own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.alive = True
        self.epoch = run.ledger.claim_epoch()
        self.dispatcher = run.classes.dispatcher(replace(POLICY, drawn_order=run.scenario.stop_at is not None))
        self.book = Book(run.scenario, POLICY, self.dispatcher, run.seen)
        self.fleet = SimulatedFleet(self)
        self.cancellation = Request()
        reporter = Reporter(Silent(self), view_seconds=math.inf)
        self.loop = Loop(
            Exchange(
                self.dispatcher, self.fleet.start, reporter, run.classes.restarts(), len(run.scenario.speeds), run.clock
            ),
            SlowPlan(run, self.parts_of_earlier_drivers()),
            self.cancellation,
            (self.check_leading, self.take_looks),
        )
        self.stopping = run.classes.early_stopping(
            self.dispatcher,
            StopDoor(self),
            None if run.scenario.stop_at is None else StopsAt(run, run.scenario.stop_at),
            self.epoch,
            log=lambda line: run.say(f"epoch {self.epoch}: {line}"),
            reopen=self.redo,
            clock=run.clock,
            submit=self.look,
        )
        self.stopping.begin()
        self.stepped_at = -math.inf
        self.superseded = False
        self.concluding = False
        run.say(f"epoch {self.epoch} starts")

    def parts_of_earlier_drivers(self) -> dict[ChunkId, ItemCounts]:
        """Look for parts that are there already; damaged ones are set aside."""
        kept = {}
        for chunk, part in list(self.run.ledger.parts()):
            if part.sound:
                kept[chunk] = part.counts
            else:
                self.run.set_aside(chunk)
        return kept

    def look(self, call: Look) -> Future[Found]:
        """Look beside the loop: it takes a while until the ledger has what was found, and again until the loop has."""
        answer: Future[Found] = Future()

        def tell(found: Found) -> None:
            answer.set_result(found)
            self.step()

        def work() -> None:
            if not self.alive:
                return
            try:
                found = call()
            except Superseded as superseded:
                answer.set_exception(superseded)
                self.step()
            else:
                self.run.clock.after(self.run.latency(), lambda: tell(found))

        self.run.clock.after(self.run.latency(), work)
        return answer

    def take_looks(self) -> None:
        """Let the early stop take in what a look has found."""
        self.stopping.step()

    def redo(self, chunks: tuple[Chunk, ...]) -> None:
        """Run the chunks of damaged parts again."""
        for chunk in chunks:
            self.book.set_aside(chunk.id)
        self.loop.reopen(chunks)

    def check_leading(self) -> None:
        """As ``Leadership.check``: what was seen at the last look."""
        if self.superseded:
            raise Superseded(f"epoch {self.epoch} is not the highest")

    def heartbeat(self) -> None:
        """Take a turn even if nothing happens: for pauses that are over, silence, and other drivers."""
        if self.alive:
            self.superseded = self.run.ledger.highest_epoch() > self.epoch
            if self.superseded or self.run.clock.now - self.stepped_at >= HEARTBEAT_S:
                self.step()
            self.run.clock.after(HEARTBEAT_S, self.heartbeat)

    def step(self) -> None:
        """Let the loop take a turn; conclude when it has nothing more to do."""
        if not self.alive or self.concluding:
            return
        self.stepped_at = self.run.clock.now
        try:
            more = self.loop.step()
            if self.dispatcher.fatal:
                raise InvariantBroken(f"gave up without a reason: {self.dispatcher.fatal}")
            self.book.check_lost()
            if more and self.dispatcher.finished:
                more = self.loop.step()
        except (Superseded, Interrupted) as end:
            self.run.seen["superseded" if isinstance(end, Superseded) else "stopped"] += 1
            self.run.say(f"epoch {self.epoch} leaves: {end}")
            self.die()
        except RunFailed as failure:
            self.give_up(failure)
        else:
            if not more:
                self.conclude()

    def give_up(self, failure: RunFailed) -> None:
        """The run has failed: somebody applies it again. Fails where it gave up too early."""
        self.run.say(f"epoch {self.epoch} gives up: {failure}")
        if self.book.failures <= RestartPolicy().most_failures:
            raise InvariantBroken(f"gave up without a reason: {failure}")
        self.run.seen["gave up"] += 1
        self.die()

    def conclude(self) -> None:
        """Check every part; set corrupt ones aside and run them again, or create COMPLETE."""
        if self.run.ledger.highest_epoch() > self.epoch:
            self.die()
            return
        if self.stopping.is_looking:
            return
        try:
            self.stopping.settle()
        except Superseded:
            self.die()
            return
        if not self.dispatcher.finished:
            return
        corrupt = [
            chunk for chunk, part in self.run.ledger.parts() if not part.sound and self.dispatcher.counts_in(chunk)
        ]
        for chunk in corrupt:
            self.run.say(f"epoch {self.epoch} sets {chunk} aside")
            self.run.set_aside(chunk)
            self.book.set_aside(chunk)
        if corrupt:
            self.loop.reopen(self.run.scenario.by_id[chunk] for chunk in corrupt)
        else:
            self.concluding = True
            self.run.clock.after(self.run.latency(), self.complete)

    def complete(self) -> None:
        """Create COMPLETE; it was the highest epoch a moment ago."""
        if self.alive:
            if self.run.ledger.complete(self.epoch):
                self.run.say(f"epoch {self.epoch} completes")
                self.run.check_complete(self)
            self.die()

    def stop(self) -> None:
        """The process is asked to stop; where it cannot do so by itself, it dies."""
        if self.concluding:
            self.die()
        else:
            self.cancellation.request()
            self.step()

    def die(self) -> None:
        """The process ends, however; its replicas notice after a while."""
        if self.alive:
            self.alive = False
            self.fleet.shutdown()
            self.run.driver_gone()


def main() -> None:
    """Replay one seed."""
    run = Run(int(sys.argv[1]), trace=True).play()
    print(f"complete after {run.clock.now:.1f} virtual seconds and {run.clock.events} events")


if __name__ == "__main__":
    main()
