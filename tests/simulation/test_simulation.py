"""Ten thousand seeded runs with faults, and the proof that the simulation can fail.

``EVALRUN_SIMULATION_SEEDS`` sets how many seeds are played (default 10,000, about 5 ms each);
``EVALRUN_SIMULATION_SEED=n`` plays that one alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from evalrun_runner.dispatch import Departure, Dispatcher
from evalrun_runner.dispatch.leases import Holding
from evalrun_runner.dispatch.replicas import ReplicaHealth
from evalrun_runner.dispatch.suspects import Quarantine
from evalrun_runner.dispatch.table import State
from evalrun_runner.records.messages import Committed
from support.simulation import MakeDispatcher, Run
from support.simulation_real_ledger import RealLedger
from support.simulation_world import InvariantBroken, MemoryLedger

SEEDS = int(os.environ.get("EVALRUN_SIMULATION_SEEDS", "10000"))
ONLY = os.environ.get("EVALRUN_SIMULATION_SEED")
REAL_LEDGER_SEEDS = max(1, SEEDS // 50)
"""Parquet takes its time: fewer seeds over the project's own ledger than over the one in memory."""
MUTANT_SEEDS = 400


@pytest.mark.timeout(600)
def test_every_seed_keeps_the_invariants() -> None:
    for seed in [int(ONLY)] if ONLY else range(SEEDS):
        try:
            Run(seed).play()
        except Exception as error:
            raise AssertionError(
                f"seed {seed} fails: {error}\n"
                f"replay: EVALRUN_SIMULATION_SEED={seed} pytest tests/simulation, or with a trace: "
                f"PYTHONPATH=tests python tests/support/simulation.py {seed}"
            ) from error


@pytest.mark.timeout(600)
def test_the_real_ledger_keeps_the_invariants_too() -> None:
    for seed in range(REAL_LEDGER_SEEDS):
        try:
            Run(seed, ledger=RealLedger()).play()
        except Exception as error:
            raise AssertionError(f"seed {seed} over the real ledger fails: {error}") from error


def test_a_seed_replays_the_same_run() -> None:
    first, second = Run(7).play(), Run(7).play()
    assert (first.clock.now, first.clock.events) == (second.clock.now, second.clock.events)


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    """Faults that never happen prove nothing: each kind of trouble occurs among the first seeds."""
    seen: dict[str, int] = dict.fromkeys(("epochs", "kept", "redone", "quarantined", "duplicates", "hedged"), 0)
    corrupt = 0
    for seed in range(200):
        run = Run(seed).play()
        progress = [driver.dispatcher.progress(run.clock.now) for driver in run.drivers]
        seen["epochs"] += len(run.drivers) > 1
        seen["kept"] += any(one.kept for one in progress)
        seen["redone"] += any(one.redone for one in progress)
        seen["quarantined"] += any(one.counts.quarantined for one in progress)
        seen["duplicates"] += any(one.duplicate_commits for one in progress)
        seen["hedged"] += any(one.hedged for one in progress)
        assert isinstance(run.ledger, MemoryLedger)
        corrupt += any(key.startswith("corrupt/") for key in run.ledger.objects)
    assert min(*seen.values(), corrupt) >= 10, f"{seen}, corrupt parts {corrupt}"


class ForgetsToQueueAgain(Dispatcher):
    """What a dead replica held is struck out and never leased again."""

    def _release(self, holding: Holding, now: float) -> bool:
        self._end(holding, now)
        return False


class CountsTwice(Dispatcher):
    """A commit that is reported again is counted again."""

    def _commit(self, replica: str, committed: Committed, now: float) -> None:
        before = self._counters.duplicates
        super()._commit(replica, committed, now)
        if self._counters.duplicates > before:
            self._counters.counts += committed.counts


class FinishesEarly(Dispatcher):
    """Believes that all is done when all is leased."""

    @property
    def finished(self) -> bool:
        waiting = self._table.chunks_in(State.PENDING, State.SUSPECT)
        return self._planning_done and not waiting


class TakesTooMuchBack(Dispatcher):
    """When one replica dies, the work of all is redone."""

    def leave(self, replica: str, cause: Departure, now: float) -> None:
        for holding in tuple(self._leases):
            if holding.replica != replica and self._release(holding, now):
                self._counters.redone += holding.items
        super().leave(replica, cause, now)


class SuspectsNobody(Dispatcher):
    """Leases what killed an engine as if nothing had been."""

    def _blame(self, replica: ReplicaHealth, holding: Holding) -> None:
        return


class BlamesTheFirst(Dispatcher):
    """Quarantines the first item of whatever was in flight."""

    def _blame(self, replica: ReplicaHealth, holding: Holding) -> None:
        super()._blame(replica, holding)
        self._quarantined.append(Quarantine(self._table.id(holding.index), 0, "was there"))


class CompletesAgain(MemoryLedger):
    """A store that lets two writers create the same object."""

    def create(self, key: str, value: object) -> bool:
        self.objects[key] = value  # type: ignore[assignment]  # the mutant does not look
        return True


MUTANTS: Mapping[type[Dispatcher], str] = {
    ForgetsToQueueAgain: "termination",
    CountsTwice: "I1",
    FinishesEarly: "I2",
    TakesTooMuchBack: "I4",
    SuspectsNobody: "termination",
    BlamesTheFirst: "I1: quarantined",
}


def first_failure(make_dispatcher: MakeDispatcher = Dispatcher, ledger: type[MemoryLedger] = MemoryLedger) -> str:
    """What the first failing seed says; empty if none fails."""
    for seed in range(MUTANT_SEEDS):
        try:
            Run(seed, make_dispatcher, ledger()).play()
        except InvariantBroken as broken:
            return str(broken)
    return ""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_dispatcher_is_caught(mutant: type[Dispatcher]) -> None:
    assert first_failure(mutant).startswith(MUTANTS[mutant])


def test_a_store_that_lets_two_writers_win_is_caught() -> None:
    assert first_failure(ledger=CompletesAgain)
