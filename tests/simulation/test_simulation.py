"""Twenty thousand seeded runs with faults, and the proof that the simulation can fail.

``EVALRUN_SIMULATION_SEEDS`` sets how many seeds are played (default 20,000, about 4 ms each);
``EVALRUN_SIMULATION_SEED=n`` plays only that seed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from evalrun_api.wire.outputs import StopRecord
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.leases import Holding
from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.dispatch.replicas import ReplicaHealth
from evalrun_runner.dispatch.restarts import RestartPolicy, Restarts
from evalrun_runner.dispatch.suspects import Quarantine
from evalrun_runner.dispatch.table import State
from evalrun_runner.driver.early_stopping import EarlyStopping
from evalrun_runner.records.messages import Committed, Report
from evalrun_runner.replica.state import Action, ReplicaState, RunItems, Vitals
from support.simulation import Classes, Run
from support.simulation_real_ledger import RealLedger
from support.simulation_world import InvariantBroken, MemoryLedger

SEEDS = int(os.environ.get("EVALRUN_SIMULATION_SEEDS", "20000"))
ONLY = os.environ.get("EVALRUN_SIMULATION_SEED")
BLOCKS = 8
"""Number of tests into which the seeds are divided, so that processes can share them."""
REAL_LEDGER_SEEDS = max(1, SEEDS // 100)
"""Fewer seeds for the project's own ledger than for the one in memory, because Parquet is slower."""
MUTANT_SEEDS = 400


def play(seeds: Iterable[int], ledger: Callable[[], RealLedger | MemoryLedger]) -> None:
    for seed in seeds:
        try:
            Run(seed, ledger=ledger()).play()
        except Exception as error:
            raise AssertionError(
                f"seed {seed} fails over {ledger.__name__}: {error}\n"
                f"replay: EVALRUN_SIMULATION_SEED={seed} pytest tests/simulation, or with a trace: "
                f"PYTHONPATH=tests python tests/support/simulation.py {seed}"
            ) from error


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(1 if ONLY else BLOCKS))
def test_every_seed_keeps_the_invariants(block: int) -> None:
    play([int(ONLY)] if ONLY else range(block, SEEDS, BLOCKS), MemoryLedger)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(1 if ONLY else 2))
def test_the_real_ledger_keeps_the_invariants_too(block: int) -> None:
    play([int(ONLY)] if ONLY else range(block, REAL_LEDGER_SEEDS, 2), RealLedger)


def test_a_seed_replays_the_same_run() -> None:
    first, second = Run(7).play(), Run(7).play()
    assert (first.clock.now, first.clock.events) == (second.clock.now, second.clock.events)


def test_the_seeds_reach_every_kind_of_fault() -> None:
    """Each kind of fault occurs among the first seeds; faults that never happen prove nothing."""
    seen: Counter[str] = Counter()
    for seed in range(500):
        run = Run(seed).play()
        progress = [driver.dispatcher.progress(run.clock.now) for driver in run.drivers]
        seen["epochs"] += len(run.drivers) > 1
        seen["kept"] += any(one.kept for one in progress)
        seen["redone"] += any(one.redone for one in progress)
        seen["quarantined"] += any(one.counts.quarantined for one in progress)
        seen["duplicates"] += any(one.duplicate_commits for one in progress)
        seen["hedged"] += any(one.hedged for one in progress)
        assert isinstance(run.ledger, MemoryLedger)
        seen["corrupt"] += any(key.startswith("corrupt/") for key in run.ledger.objects)
        seen.update(run.seen)
    rare = {what: seen[what] for what in REACHED if seen[what] < 10}
    assert not rare, f"{rare} of {seen}"


REACHED = (
    "epochs", "kept", "redone", "quarantined", "duplicates", "hedged", "corrupt",
    "cancelled", "isolated", "drained", "returned", "failed start", "stopped", "superseded", "gave up", "stopped early",
)  # fmt: skip


class ForgetsToQueueAgain(Dispatcher):
    """Mutant: the leases of a dead replica are dropped and never queued again."""

    def _release(self, holding: Holding, now: float) -> bool:
        self._end(holding, now)
        return False


class CountsTwice(Dispatcher):
    """Mutant: a commit that is reported twice is counted twice."""

    def _commit(self, replica: str, committed: Committed, now: float) -> None:
        before = self._counters.duplicates
        super()._commit(replica, committed, now)
        if self._counters.duplicates > before:
            self._counters.counts += committed.counts


class FinishesEarly(Dispatcher):
    """Mutant: the run counts as finished when everything is leased."""

    @property
    def finished(self) -> bool:
        waiting = self._table.chunks_in(State.PENDING, State.SUSPECT)
        return self._planning_done and not waiting


class TakesTooMuchBack(Dispatcher):
    """Mutant: when one replica dies, the work of all is redone."""

    def leave(self, replica: str, cause: Departure, now: float) -> None:
        for holding in tuple(self._leases):
            if holding.replica != replica and self._release(holding, now):
                self._counters.redone += holding.items
        super().leave(replica, cause, now)


class SuspectsNobody(Dispatcher):
    """Mutant: items that killed an engine are leased like others."""

    def _blame(self, replica: ReplicaHealth, holding: Holding) -> None:
        return


class BlamesTheFirst(Dispatcher):
    """Mutant: the first item of everything in flight is quarantined."""

    def _blame(self, replica: ReplicaHealth, holding: Holding) -> None:
        super()._blame(replica, holding)
        self._quarantined.append(Quarantine(self._table.id(holding.index), 0, "was there"))


class CompletesAgain(MemoryLedger):
    """Mutant: the store lets two writers create the same object."""

    def create(self, key: str, value: object) -> bool:
        self.objects[key] = value  # type: ignore[assignment]  # the mutant does not look
        return True


class GivesNothingBack(ReplicaState):
    """Mutant: a drained replica does not return what it could not commit."""

    def report(self, vitals: Vitals) -> Report:
        return replace(super().report(vitals), returned=())


class StartsUnheard(ReplicaState):
    """Mutant: a suspect's item starts when it is announced, before the driver has received the announcement."""

    def _open(self, lease_id: int, rows: tuple[int, ...]) -> Iterator[Action]:
        yield from super()._open(lease_id, rows)
        if rows and lease_id in self._held and self._held[lease_id].lease.isolated:
            yield RunItems(lease_id, rows[:1])


class NeverReplaces(Restarts):
    """Mutant: replicas are promised and never started."""

    def take_due(self, now: float) -> int:
        return 0


class GivesUpEarly(Restarts):
    """Mutant: the run ends at the second failure in a row."""

    def __init__(self) -> None:
        super().__init__(RestartPolicy(most_failures=1))


class CountsBeyondTheStop(EarlyStopping):
    """Mutant: what was finished beyond the recorded stop counts as well."""

    def _apply(self, record: StopRecord) -> None:
        super()._apply(record.model_copy(update={"chunks": {task: n + 1 for task, n in record.chunks.items()}}))


MUTANTS: tuple[tuple[Classes, str | tuple[str, ...]], ...] = (
    (Classes(dispatcher=ForgetsToQueueAgain), "termination"),
    (Classes(dispatcher=CountsTwice), "I1"),
    (Classes(dispatcher=FinishesEarly), "I2"),
    (Classes(dispatcher=TakesTooMuchBack), ("I4", "3 replicas hold")),
    (Classes(dispatcher=SuspectsNobody), "termination"),
    (Classes(dispatcher=BlamesTheFirst), "I1: quarantined"),
    (Classes(replica_state=GivesNothingBack), "drain"),
    (Classes(replica_state=StartsUnheard), "isolation"),
    (Classes(restarts=NeverReplaces), "termination"),
    (Classes(restarts=GivesUpEarly), "gave up without a reason"),
    (Classes(early_stopping=CountsBeyondTheStop), "I1"),
)


def mutant(classes: Classes) -> str:
    """Return the name of the class that is replaced."""
    wrong = [name for name, one in vars(classes).items() if one is not getattr(Classes(), name)]
    return str(getattr(classes, wrong[0]).__name__)


def first_failure(classes: Classes | None = None, ledger: type[MemoryLedger] = MemoryLedger) -> str:
    """Return the message of the first failing seed; empty if none fails."""
    for seed in range(MUTANT_SEEDS):
        try:
            Run(seed, classes, ledger()).play()
        except InvariantBroken as broken:
            return str(broken)
    return ""


@pytest.mark.parametrize(("classes", "says"), MUTANTS, ids=[mutant(classes) for classes, _ in MUTANTS])
def test_every_mutant_is_caught(classes: Classes, says: str | tuple[str, ...]) -> None:
    assert first_failure(classes).startswith(says)


def test_a_store_that_lets_two_writers_create_one_object_is_caught() -> None:
    assert first_failure(ledger=CompletesAgain)
