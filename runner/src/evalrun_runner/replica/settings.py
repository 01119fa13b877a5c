"""What a replica is told at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.models.types import ModelSource
from evalrun_runner.store.open import StoreSpec

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """Everything a replica needs; picklable."""

    store: StoreSpec
    engine: VllmSettings | MockSettings
    recipes: Mapping[str, TaskRecipe]
    seed: int
    model: ModelSource | None = None
    """What is brought to this machine for the engine; None: it is where the engine's settings say, or not needed."""
    cache_dir: str | None = None
    """Where to; None: this machine's own cache."""
    fast: bool = True
    """``numerics: fast``; False uses lm-eval's own requests."""
    carried: bool = False
    """The run goes on from an earlier one: of some chunks a part of the items is there."""
    item_deadline: float = 1800.0
    """Seconds in the engine after which an item is given up."""
    store_patience: float = 600.0
    """Seconds for which the store may refuse before the run fails."""
