"""Settings of a replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evalrun_runner.engine.settings import EngineSettings
from evalrun_runner.engine.thinking import Thinking
from evalrun_runner.models.types import ModelSource
from evalrun_runner.recorded.source import RecordedSource
from evalrun_runner.store.open import StoreSpec

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """Everything that a replica needs at its start; picklable."""

    store: StoreSpec
    engine: EngineSettings
    recipes: Mapping[str, TaskRecipe]
    seed: int
    model: ModelSource | None = None
    """Model to fetch for the engine; None if it is at the path in the engine's settings, or not needed."""
    adapters: Mapping[str, ModelSource] = field(default_factory=dict)
    """LoRA adapters to fetch beside the model, by name."""
    adapter_of: Mapping[str, str] = field(default_factory=dict)
    """Name of the adapter that answers a leaf task, by the task's name; the model itself answers the others."""
    cache_dir: str | None = None
    """Directory to fetch the model to; None for this machine's own cache."""
    thinking: Mapping[str, Thinking] = field(default_factory=dict)
    """Leaf tasks before whose answers the model thinks."""
    fast: bool = True
    """Whether ``numerics`` is ``fast``; False uses lm-eval's own requests."""
    strict: bool = False
    """Whether ``numerics`` is ``strict``: the replica works only if its engine proves to be batch-invariant."""
    carried: bool = False
    """Whether the run resumes from an earlier one, which may provide some items of a chunk."""
    recorded: RecordedSource | None = None
    """Answers to take instead of the engine's; None: the engine is asked."""
    item_deadline: float = 1800.0
    """Maximum time of an item in the engine, in seconds; then it fails."""
    store_patience: float = 600.0
    """Maximum time in seconds for which the store may refuse before the run fails."""
