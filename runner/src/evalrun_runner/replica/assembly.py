"""Assembly of a replica from its settings: its parts in production, each of which can be replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evalrun_runner.engine.settings import engine_name
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.replica.committing import Committer, Scoring
from evalrun_runner.replica.loading import EngineLoader, Libraries
from evalrun_runner.replica.replica import Replica
from evalrun_runner.replica.scoring import ScoringProcess
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.replica.state import ReplicaPolicy, ReplicaState
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import StoreSpec, open_store
from evalrun_runner.store.patient import PatientStore

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of a replica, by default those of production."""

    open_store: Callable[[StoreSpec], ObjectStore] = open_store
    scoring: Callable[[Mapping[str, TaskRecipe]], Scoring] = ScoringProcess
    libraries: Libraries = field(default_factory=Libraries)
    policy: ReplicaPolicy = field(default_factory=ReplicaPolicy)


PRODUCTION = Parts()


def build_replica(name: str, settings: ReplicaSettings, parts: Parts = PRODUCTION) -> Replica:
    """Compose a replica; ``name`` is recorded as the writer of its parts. Nothing is loaded or started yet."""
    store = PatientStore(parts.open_store(settings.store), settings.store_patience)
    ledger = Ledger(store)
    return Replica(
        name,
        ReplicaState(parts.policy),
        loader=EngineLoader(settings, ledger, parts.libraries),
        committer=Committer(ledger, parts.scoring(settings.recipes), writer=Writer(name, engine_name(settings.engine))),
        store=store,
    )
