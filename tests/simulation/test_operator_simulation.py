"""Seeded worlds with an operator in them, their faults, and the proof that the simulation can fail.

``EVALRUN_OPERATOR_SEEDS`` sets how many seeds are played (default 400; continuous integration plays 20,000);
``EVALRUN_OPERATOR_SEED=n`` plays only that seed.
"""

from __future__ import annotations

import copy
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from evalrun_api import EvalRun
from evalrun_operator import reconcile
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.objects import Change, Delete, Kind, Manifest
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.plan import ReconcilePlan, plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import DesiredState
from evalrun_operator.state.observed import Observed, References
from support.operator_audit import InvariantBroken
from support.operator_process import Classes, ModelClient
from support.operator_simulation import World

SEEDS = int(os.environ.get("EVALRUN_OPERATOR_SEEDS", "400"))
ONLY = os.environ.get("EVALRUN_OPERATOR_SEED")
BLOCKS = 16
"""Number of tests into which the seeds are divided, so that processes can share them."""
MUTANT_SEEDS = 150


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Keep what operators log in thousands of worlds out of the report; a replay prints it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", range(1 if ONLY else BLOCKS))
def test_every_seed_keeps_the_invariants(block: int) -> None:
    for seed in [int(ONLY)] if ONLY else range(block, SEEDS, BLOCKS):
        try:
            World(seed).play()
        except Exception as error:
            raise AssertionError(
                f"seed {seed} fails: {error}\n"
                f"replay: EVALRUN_OPERATOR_SEED={seed} pytest tests/simulation/test_operator_simulation.py, or with a "
                f"trace: PYTHONPATH=tests python tests/support/operator_simulation.py {seed}"
            ) from error


def test_a_seed_replays_the_same_world() -> None:
    first, second = World(7).play(), World(7).play()
    assert (first.time.now(), first.audit.seen) == (second.time.now(), second.audit.seen)
    assert [one.connection.requests for one in first.operators] == [one.connection.requests for one in second.operators]


class Copies(ModelClient):
    """A client whose answers are copies: what an operator changed in them would reach nobody else."""

    def _parse(self, data: bytes) -> Any:
        return copy.deepcopy(super()._parse(data))


def test_no_operator_changes_what_the_model_api_server_lends_it() -> None:
    for seed in range(10):
        lent, copied = World(seed).play(), World(seed, Classes(client=Copies)).play()
        assert (lent.time.now(), lent.audit.seen) == (copied.time.now(), copied.audit.seen)


def test_the_seeds_reach_every_kind_of_fault() -> None:
    """Each kind of end and fault occurs among the first seeds; faults that never happen prove nothing."""
    seen: Counter[str] = Counter()
    for seed in range(300):
        seen.update(World(seed).play().audit.seen.keys())
    rare = {what: seen[what] for what in REACHED if seen[what] < 3}
    assert not rare, f"{rare} of {seen}"


REACHED = (
    "Succeeded", "Failed", "Invalid", "attempts", "operators died", "suspend", "resume", "delete", "cut", "upgrade",
    "invalid", "final", "failed", "dies", "out of memory", "stops", "superseded", "mumbles",
    "evict driver", "delete driver job", "delete replicas job", "resize",
)  # fmt: skip


# Mutants ------------------------------------------------------------------------------------------------------------


class RemembersForEver(Observer):
    """Mutant: children are read once; news of them is ignored."""

    def forget(self, key: Key) -> None:
        return

    def learn(self, key: Key, kind: Kind, manifest: Manifest, *, deleted: bool = False) -> bool:
        return True


class ClearsNothing(JobsBackend):
    """Mutant: Jobs of earlier attempts stay."""

    def changes(
        self, run: EvalRun, desired: DesiredState, objects: Objects, references: References | None
    ) -> tuple[Change, ...]:
        changes = super().changes(run, desired, objects, references)
        return tuple(one for one in changes if not isinstance(one, Delete))


class TakesTheNewImage(JobsBackend):
    """Mutant: an upgraded operator gives later attempts its own image."""

    def _settings_with(self, image: str | None) -> OperatorSettings:
        return self.settings


class ForgetsTheOwner(ModelClient):
    """Mutant: ConfigMaps are created without an owner, so that they stay, and are nobody's to the next operator."""

    async def create(self, kind: Kind, namespace: str, manifest: Any, *, dry_run: bool = False) -> dict[str, Any]:
        if kind.kind == "ConfigMap":
            manifest = {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": []}}
        return await super().create(kind, namespace, manifest, dry_run=dry_run)


def never_suspends(observed: Observed, settings: OperatorSettings, now: datetime) -> ReconcilePlan:
    """Mutant: policy.suspend is not looked at."""
    policy = observed.run.spec.policy.model_copy(update={"suspend": False})
    run = observed.run.model_copy(update={"spec": observed.run.spec.model_copy(update={"policy": policy})})
    return plan(replace(observed, run=run), settings, now)


def charges_everything(observed: Observed, settings: OperatorSettings, now: datetime) -> ReconcilePlan:
    """Mutant: each attempt is charged, whoever ended it."""
    decided = plan(observed, settings, now)
    return replace(decided, status=decided.status.model_copy(update={"charged_attempts": decided.status.attempt}))


def starts_again(observed: Observed, settings: OperatorSettings, now: datetime) -> ReconcilePlan:
    """Mutant: the end of a run is forgotten."""
    status = observed.run.status
    if status is not None and status.phase is not None and status.phase.finished:
        status = status.model_copy(update={"phase": None})
    return plan(replace(observed, run=observed.run.model_copy(update={"status": status})), settings, now)


CLASSES: tuple[tuple[Classes, str], ...] = (
    (Classes(observer=RemembersForEver), ""),
    (Classes(backend=ClearsNothing), ""),
    (Classes(backend=TakesTheNewImage), "image"),
    (Classes(client=ForgetsTheOwner), ""),
)
PLANS = ((never_suspends, "suspend"), (charges_everything, "charges"), (starts_again, "status"))


def first_failure(classes: Classes | None = None) -> str:
    """Return the message of the first failing seed."""
    for seed in range(MUTANT_SEEDS):
        try:
            World(seed, classes or Classes()).play()
        except InvariantBroken as broken:
            return str(broken)
    raise AssertionError(f"none of {MUTANT_SEEDS} seeds fails")


def test_every_mutant_takes_the_place_of_a_method() -> None:
    for mutant in (RemembersForEver, ClearsNothing, TakesTheNewImage, ForgetsTheOwner):
        methods = [name for name, value in vars(mutant).items() if callable(value)]
        assert methods
        assert all(hasattr(mutant.__base__, name) for name in methods), mutant


@pytest.mark.parametrize(("classes", "says"), CLASSES)
def test_every_mutant_of_a_class_is_caught(classes: Classes, says: str) -> None:
    assert first_failure(classes).startswith(says)


@pytest.mark.parametrize(("mutant", "says"), PLANS)
def test_every_mutant_of_the_plan_is_caught(mutant: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "plan", mutant)
    assert first_failure().startswith(says)
