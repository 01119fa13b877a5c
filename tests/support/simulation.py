"""A whole run as a discrete-event simulation, decided by one integer: the real dispatcher, simulated everything else.

What is real: ``Dispatcher``, the records that pass between driver and replicas, the keys of ``layout``. What is
simulated: drivers (attempts, two at once, superseded ones), replicas (engines of several speeds, poison items, hangs,
partitions, drains), the messages between them, and the ledger (objects created if absent; ``tests/simulation`` runs
some hundreds of seeds over the real one).

What the scheduler does: kills, loses, cuts off, hangs, drains and adds replicas; kills drivers and starts second
ones; delays messages (now and then by seconds), repeats commits in later reports, delivers reports of replicas that
were given up, lets them commit late, loses the answer to a commit, damages parts as they are written, adds chunks
while replicas work. It does not lose the order to a living replica, which Ray's actor calls cannot either. A random
crash or cut is not played as the death of a replica that runs a suspect alone: nothing could tell it from a poison
item there; such a replica is lost with its node instead.

What is checked, in each seed:
- I1: every planned item has exactly one end: the parts cover the plan, each chunk once, with the counts it must have,
  and the dispatcher's counts agree; only poison items are quarantined;
- I2: COMPLETE is created once, with every part there and sound, by a driver that was the highest epoch when it looked
  (a look at the epochs and a move of a corrupt part are one step here);
- I4: items redone are at most what was in flight on what died, and what was set aside;
- a lease is never granted beyond the credit by a chunk, and an isolated one is alone on its replica;
- the run ends in bounded virtual time.

``python tests/support/simulation.py SEED`` replays a seed and prints what happened.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial

from evalrun_runner.dispatch import Departure, Dispatcher, DispatchPolicy
from evalrun_runner.records.messages import Committed, Lease, Order, Report
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import Counts
from support.simulation_world import (
    Clock,
    FaultKind,
    InvariantBroken,
    Ledger,
    MemoryLedger,
    Part,
    Poison,
    Scenario,
    draw,
)

LIMIT_S = 1000.0
"""Virtual seconds within which every seed must end; 10,000 seeds took at most about a third of it."""
POLL_S = 1.0
POLICY = DispatchPolicy(
    silence_s=15.0, progress_s=10.0, hedge_blind_s=8.0, speed_half_life_s=20.0, max_failed_items=1000
)
MakeDispatcher = Callable[[DispatchPolicy], Dispatcher]


class Run:
    """One simulated run: the clock, the ledger, the drivers, and the faults that strike them."""

    def __init__(
        self, seed: int, make_dispatcher: MakeDispatcher = Dispatcher, ledger: Ledger | None = None, trace: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.scenario: Scenario = draw(self.rng)
        self.by_id = self.scenario.chunks_by_id
        self.make_dispatcher = make_dispatcher
        self.ledger: Ledger = ledger if ledger is not None else MemoryLedger()
        self.clock = Clock(LIMIT_S)
        self.drivers: list[Driver] = []
        self.torn_writes_left = self.scenario.torn_writes
        self.completions = 0
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
        slow = self.rng.random() < 0.01
        return self.rng.uniform(0.5, 3.0) if slow else self.scenario.latency_s * self.rng.uniform(0.5, 1.5)

    def start_driver(self) -> None:
        """Start a driver process, unless the run is complete."""
        if self.ledger.completed_by() is None:
            self.drivers.append(Driver(self))

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
            driver.die()
        elif kind is FaultKind.SECOND_DRIVER:
            self.start_driver()
        elif kind is FaultKind.ADD_REPLICA:
            driver.spawn(50.0)
        else:
            replicas = [replica for replica in driver.replicas.values() if replica.alive]
            if replicas:
                driver.strike(self.rng.choice(replicas), kind)

    def check_complete(self, driver: Driver) -> None:
        """I1 and I2 at the moment in which a driver creates COMPLETE."""
        self.completions += 1
        if self.completions > 1:
            raise InvariantBroken("I2: COMPLETE was created twice")
        parts = dict(self.ledger.parts())
        if parts.keys() != self.by_id.keys():
            raise InvariantBroken(f"I2: COMPLETE with {len(parts)} parts of {len(self.by_id)}")
        total = Counts()
        for chunk, part in parts.items():
            if not part.sound:
                raise InvariantBroken(f"I2: COMPLETE with a corrupt part of {chunk}")
            if part.digest != self.by_id[chunk].digest or part.counts != self.scenario.counts(chunk):
                raise InvariantBroken(f"I1: the part of {chunk} holds {part}, not {self.scenario.counts(chunk)}")
            total += part.counts
        progress = driver.dispatcher.progress(self.clock.now)
        planned = sum(chunk.items for chunk in self.by_id.values())
        if (progress.planned, progress.counts, progress.counts.total) != (planned, total, planned):
            raise InvariantBroken(f"I1: planned {planned} items, the dispatcher says {progress}")

    def check_end(self) -> None:
        """COMPLETE is there, and everybody has left."""
        if self.ledger.completed_by() is None:
            raise InvariantBroken("termination: everything stands still and COMPLETE is not there")
        if any(driver.alive for driver in self.drivers):
            raise InvariantBroken("termination: a driver is left over")
        if len(dict(self.ledger.parts())) != len(self.by_id):
            raise InvariantBroken("I2: parts are missing after COMPLETE")


class Driver:
    """A driver process: an epoch, a dispatcher, replicas of its own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.alive = True
        self.epoch = run.ledger.claim_epoch()
        self.dispatcher = run.make_dispatcher(POLICY)
        self.replicas: dict[str, Replica] = {}
        self.granted: dict[str, dict[int, Lease]] = {}
        """What each replica holds, by the orders and reports that the driver saw: a second book, to check the first."""
        self.lost_items = 0
        """Bound of I4: items in flight on what died, or set aside."""
        self.last_lease = 0
        self.reopened: dict[tuple[str, int], int] = {}
        """chunk -> the last lease before its part was set aside"""
        self.spawned = 0
        self.concluding = False
        run.say(f"epoch {self.epoch} starts")
        kept = {}
        for chunk, part in list(run.ledger.parts()):
            if part.sound:
                kept[chunk] = part.counts
            else:
                run.ledger.set_aside(chunk)
        self.plan(list(run.scenario.chunks), kept)
        for speed in run.scenario.speeds:
            self.spawn(speed)
        self.tick()

    def plan(self, chunks: list[Chunk], kept: dict[tuple[str, int], Counts]) -> None:
        """Add the next few chunks, and so on until all are planned."""
        if not self.alive:
            return
        some = self.run.rng.randint(1, 20)
        self.dispatcher.add_chunks(chunks[:some], kept)
        if len(chunks) > some:
            self.run.clock.after(self.run.rng.uniform(0, 2), partial(self.plan, chunks[some:], kept))
        else:
            self.dispatcher.planning_done()
            self.conclude_if_finished()

    def spawn(self, speed: float) -> None:
        """Start a replica; it joins when its engine is loaded."""
        if self.alive and not self.concluding:
            self.spawned += 1
            replica = Replica(self, f"e{self.epoch}-r{self.spawned}", speed)
            self.run.clock.after(self.run.rng.uniform(0.5, 3), partial(self.welcome, replica))

    def welcome(self, replica: Replica) -> None:
        """A replica's engine is loaded."""
        if self.alive:
            self.replicas[replica.name] = replica
            self.granted[replica.name] = {}
            self.dispatcher.join(replica.name, self.run.clock.now)
            replica.send(partial(replica.on_order, Order()))

    def on_report(self, replica: Replica, report: Report) -> None:
        """Answer a report with an order."""
        if not self.alive:
            return
        order = self.dispatcher.report(replica.name, report, self.run.clock.now)
        if self.dispatcher.fatal:
            raise InvariantBroken(f"gave up without a reason: {self.dispatcher.fatal}")
        self.check_order(replica, report, order)
        replica.send(partial(replica.on_order, order))
        self.conclude_if_finished()

    def check_order(self, replica: Replica, report: Report, order: Order) -> None:
        """Keep the second book and hold the order against it."""
        over = {one.chunk for one in report.committed if one.lease > self.reopened.get(one.chunk, 0)}
        for leases in self.granted.values() if over else ():
            for lease in [one for one in leases.values() if one.chunk.id in over]:
                del leases[lease.id]
        held = self.granted.get(replica.name)
        if held is None:
            if order.leases:
                raise InvariantBroken(f"leases for {replica.name}, which is not here")
            return
        for lease_id in (*report.returned, *order.cancel):
            held.pop(lease_id, None)
        for lease in order.leases:
            held[lease.id] = lease
            self.last_lease = max(self.last_lease, lease.id)
        if sum(lease.chunk.items for lease in order.leases[:-1]) > report.wants:
            raise InvariantBroken(f"{replica.name} wanted {report.wants} items and was given {order.leases}")
        for lease in order.leases:
            holders = sum(any(one.chunk == lease.chunk for one in leases.values()) for leases in self.granted.values())
            if holders > (1 if lease.isolated else POLICY.max_copies):
                raise InvariantBroken(f"{holders} replicas hold {lease}")
        isolated = sum(lease.isolated for lease in held.values())
        if isolated and len(held) > 1:
            raise InvariantBroken(f"{replica.name} runs a suspect, but not alone: {list(held.values())}")
        alone = sum(any(lease.isolated for lease in leases.values()) for leases in self.granted.values())
        if any(lease.isolated for lease in order.leases) and 1 < len(self.granted) == alone:
            pending = self.dispatcher.progress(self.run.clock.now).pending_chunks
            if pending:
                raise InvariantBroken(f"all {alone} replicas run suspects while {pending} normal chunks wait")

    def tick(self) -> None:
        """Look every few seconds for replicas to kill, and for a driver with a higher epoch."""
        if not self.alive:
            return
        if self.run.ledger.highest_epoch() > self.epoch:
            self.run.say(f"epoch {self.epoch} sees a higher one and leaves")
            self.die()
            return
        for verdict in self.dispatcher.tick(self.run.clock.now):
            replica = self.replicas[verdict.replica]
            if self.run.rng.random() < 0.7:
                replica.alive = False  # else the kill does not reach it, and a zombie stays
            self.gone(replica, verdict.cause)
        self.run.clock.after(2.0, self.tick)

    def gone(self, replica: Replica, cause: Departure) -> None:
        """A replica has left, as far as the driver knows; another comes in its place."""
        if not self.alive or self.replicas.pop(replica.name, None) is None:
            return
        self.run.say(f"{replica.name} is gone: {cause}")
        self.lost_items += sum(lease.chunk.items for lease in self.granted.pop(replica.name).values())
        self.dispatcher.leave(replica.name, cause, self.run.clock.now)
        self.check_lost()
        if not self.dispatcher.finished:
            self.spawn(replica.speed)

    def isolates(self, replica: Replica) -> bool:
        """Whether the replica runs a suspect, as far as the driver knows."""
        return any(lease.isolated for lease in self.granted[replica.name].values())

    def check_lost(self) -> None:
        """I4, and that none but poison items were quarantined."""
        redone = self.dispatcher.progress(self.run.clock.now).redone
        if redone > self.lost_items:
            raise InvariantBroken(f"I4: {redone} items redone, but only {self.lost_items} were in flight on what died")
        for found in self.dispatcher.quarantined:
            if found.row not in self.run.scenario.poison.get(found.chunk, {}):
                raise InvariantBroken(f"I1: quarantined {found}, which is no poison")

    def strike(self, replica: Replica, kind: FaultKind) -> None:
        """A fault strikes a replica of this driver."""
        alone = self.isolates(replica)
        if kind is FaultKind.DRAIN_REPLICA:
            replica.drain()
        elif kind is FaultKind.HANG_REPLICA and not alone:
            replica.stuck = True
        elif kind is FaultKind.PARTITION_REPLICA:
            replica.cut_off_until = self.run.clock.now + self.run.rng.uniform(5, 60)
            if alone or self.run.rng.random() < 0.5:
                self.run.clock.after(self.run.rng.uniform(1, 8), partial(self.gone, replica, Departure.LOST))
        elif kind in (FaultKind.CRASH_REPLICA, FaultKind.HANG_REPLICA, FaultKind.LOSE_REPLICA):
            replica.alive = False
            cause = Departure.CRASHED if kind is FaultKind.CRASH_REPLICA and not alone else Departure.LOST
            # The driver may grant a suspect to a dead replica before it hears of the death: no item's fault either.
            self.run.clock.after(self.run.rng.uniform(0, 3), partial(self.gone, replica, cause))

    def conclude_if_finished(self) -> None:
        """Check every part; set corrupt ones aside and run them again, or create COMPLETE."""
        if not self.dispatcher.finished or self.concluding:
            return
        if self.run.ledger.highest_epoch() > self.epoch:
            self.die()
            return
        corrupt = [chunk for chunk, part in self.run.ledger.parts() if not part.sound]
        for chunk_id in corrupt:
            self.run.say(f"epoch {self.epoch} sets {chunk_id} aside")
            self.run.ledger.set_aside(chunk_id)
            self.lost_items += self.run.by_id[chunk_id].items
            self.reopened[chunk_id] = self.last_lease
            self.dispatcher.reopen(self.run.by_id[chunk_id])
        if corrupt:
            self.spawn(50.0)
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

    def die(self) -> None:
        """The process ends, however; its replicas notice after a while."""
        self.alive = False
        for replica in self.replicas.values():
            self.run.clock.after(self.run.rng.uniform(0, 10), replica.exit)
        self.run.driver_gone()


class Replica:
    """A replica: runs its leases one after another, commits each, and answers the driver's calls."""

    def __init__(self, driver: Driver, name: str, speed: float) -> None:
        self.driver = driver
        self.run = driver.run
        self.name = name
        self.speed = speed
        self.alive = True
        self.stuck = False
        self.frozen = False
        self.draining = False
        self.cut_off_until = 0.0
        self.credit = self.run.rng.choice((4, 16, 40))
        self.leases: dict[int, Lease] = {}
        self.finishing: set[int] = set()
        """Run, but not yet committed."""
        self.running: int | None = None
        self.row = 0
        self.announced: tuple[int, int] | None = None
        self.told = False
        """Whether a report has carried the announcement: only the order after that one starts the item."""
        self.underway = False
        """Whether the announced item runs."""
        self.called = False
        self.polls = 0
        self.tokens = 0
        self.news: list[Committed] = []
        self.repeat: list[Committed] = []
        self.returned: list[int] = []

    def send(self, event: Callable[[], None]) -> None:
        """Send a message from or to this replica; while it is cut off, messages wait."""
        blocked = max(0.0, self.cut_off_until - self.run.clock.now)
        self.run.clock.after(blocked + self.run.latency(), event)

    def exit(self) -> None:
        """The process ends."""
        self.alive = False

    def on_order(self, order: Order) -> None:
        """Take the driver's order in, go on working, and answer at the next news or in a second."""
        if not self.alive or self.frozen:
            return
        if order.done:
            self.exit()
            self.driver.gone(self, Departure.DRAINED)
            return
        self.called = True
        for lease_id in order.cancel:
            self.leases.pop(lease_id, None)
            if self.running == lease_id:
                self.running = None
        for lease in order.leases:
            self.leases[lease.id] = lease
        waits = self.announced is not None and self.running == self.announced[0] and not self.underway
        if waits and self.told:
            self.run_announced()
        self.start_next()
        self.polls += 1
        if self.news or (waits and not self.told) or (self.polls == 1 and not self.leases):
            self.answer()
        else:
            self.run.clock.after(POLL_S, partial(self.answer_poll, self.polls))

    def wants(self) -> int:
        """Its credit."""
        held = sum(lease.chunk.items for key, lease in self.leases.items() if key not in self.finishing)
        return 0 if self.draining else max(0, self.credit - held)

    def answer_poll(self, poll: int) -> None:
        """Answer a call for lack of news."""
        if poll == self.polls:
            self.answer()

    def answer(self) -> None:
        """Report to the driver, if it has asked."""
        if not self.called or not self.alive or self.frozen:
            return
        self.called = False
        self.polls += 1
        if self.running is not None and not self.stuck:
            self.tokens = max(self.tokens + 1, int(100 * self.run.clock.now))
        committed = (*self.news, *self.repeat)
        self.repeat = [one for one in self.news if self.run.rng.random() < 0.05]
        report = Report(
            committed=committed,
            returned=tuple(self.returned),
            announced=self.announced,
            tokens=self.tokens,
            busy=self.running is not None and (self.announced is None or self.underway),
            wants=self.wants(),
        )
        self.news, self.returned = [], []
        self.told = True
        self.send(partial(self.driver.on_report, self, report))

    def start_next(self) -> None:
        """Put the next lease into the engine."""
        if self.running is not None or not self.alive:
            return
        lease = next((one for key, one in self.leases.items() if key not in self.finishing), None)
        if lease is None:
            return
        self.running = lease.id
        if self.stuck:
            return
        if lease.isolated:
            self.row = -1
            self.announce_next(lease)
            return
        seconds = lease.chunk.cost / self.speed * self.run.rng.uniform(0.8, 1.2)
        poison = self.run.scenario.poison.get(lease.chunk.id, {})
        bad = next((kind for row, kind in poison.items() if row not in lease.quarantined), None)
        if bad is None:
            self.run.clock.after(seconds, partial(self.ran, lease))
        else:
            self.run.clock.after(seconds * self.run.rng.random(), partial(self.poisoned, lease.id, bad))

    def announce_next(self, lease: Lease) -> None:
        """Announce the next item of an isolated lease, or end it."""
        self.row += 1
        while self.row in lease.quarantined:
            self.row += 1
        if self.row >= lease.chunk.items:
            self.announced = None
            self.ran(lease)
        else:
            self.announced, self.told, self.underway = (lease.id, self.row), False, False
            self.answer()

    def run_announced(self) -> None:
        """The order after the announcement is here: run the item."""
        assert self.announced is not None
        self.underway = True
        lease_id, row = self.announced
        lease = self.leases[lease_id]
        bad = self.run.scenario.poison.get(lease.chunk.id, {}).get(row)
        if bad is not None:
            self.run.clock.after(0.1, partial(self.poisoned, lease_id, bad))
        else:
            self.run.clock.after(lease.chunk.cost / lease.chunk.items / self.speed, partial(self.ran_alone, lease, row))

    def ran_alone(self, lease: Lease, row: int) -> None:
        """An item of an isolated lease is through."""
        if self.alive and not self.stuck and self.announced == (lease.id, row) and lease.id in self.leases:
            self.announce_next(lease)

    def poisoned(self, lease_id: int, kind: Poison) -> None:
        """An item does to the engine what it always does."""
        if not self.alive or self.stuck or self.running != lease_id:
            return
        self.run.say(f"{self.name} runs a poison item: {kind}")
        match kind:
            case Poison.CRASH:
                self.exit()
                self.run.clock.after(self.run.latency(), partial(self.driver.gone, self, Departure.CRASHED))
            case Poison.HANG:
                self.stuck = True
            case Poison.FREEZE:
                self.frozen = True

    def ran(self, lease: Lease) -> None:
        """A lease is through: commit it, and go on with the next."""
        if not self.alive or self.stuck or self.frozen or self.running != lease.id:
            return
        self.running = None
        self.finishing.add(lease.id)
        self.run.clock.after(self.run.latency(), partial(self.commit, lease))
        self.start_next()

    def commit(self, lease: Lease) -> None:
        """Create the part. Its answer may be lost with the replica, or come late; the part may be damaged."""
        if not self.alive or self.frozen or lease.id not in self.leases:
            return
        poison = self.run.scenario.poison.get(lease.chunk.id, {})
        if set(poison) - set(lease.quarantined):
            raise InvariantBroken(f"the simulation let a poison item of {lease.chunk.id} pass")
        counts = self.run.scenario.counts(lease.chunk.id)
        torn = self.run.torn_writes_left > 0 and self.run.rng.random() < 0.1
        there = self.run.ledger.commit(lease.chunk, Part(counts, lease.chunk.digest, sound=not torn))
        if there is None and torn:
            self.run.torn_writes_left -= 1
        if self.run.rng.random() < 0.01:
            self.exit()
            self.run.clock.after(1.0, partial(self.driver.gone, self, Departure.LOST))
            return
        self.run.clock.after(self.run.latency(), partial(self.committed, lease, counts, there is None))

    def committed(self, lease: Lease, counts: Counts, won: bool) -> None:
        """The store has answered."""
        if self.alive and not self.frozen:
            self.leases.pop(lease.id, None)
            self.finishing.discard(lease.id)
            self.news.append(Committed(lease.id, lease.chunk.id, counts, won, 1, 1, 0.1))
            self.answer()

    def drain(self) -> None:
        """SIGTERM: give back what has not started, and leave within the grace period."""
        if self.alive and not self.draining:
            self.draining = True
            self.returned = [key for key in self.leases if key != self.running and key not in self.finishing]
            for key in self.returned:
                del self.leases[key]
            self.run.clock.after(6.0, self.drained)

    def drained(self) -> None:
        """The grace period is over."""
        if self.alive:
            self.exit()
            self.driver.gone(self, Departure.DRAINED)


def main() -> None:
    """Replay one seed."""
    run = Run(int(sys.argv[1]), trace=True).play()
    print(f"complete after {run.clock.now:.1f} virtual seconds and {run.clock.events} events")


if __name__ == "__main__":
    main()
