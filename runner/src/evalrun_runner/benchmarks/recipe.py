"""Benchmark specs, and recipes that remake a leaf task in another process. This module does not import lm-eval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evalrun_api import TemplateValue
from evalrun_runner.benchmarks import values
from evalrun_runner.records.draw import SampleDraw


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """One entry of ``spec.benchmarks``."""

    name: str
    task: str
    """lm-eval task, group or tag."""
    num_fewshot: int | None = None
    """Number of few-shot examples; None keeps the task's own. A task that sets 0 keeps 0 in any case, as in lm-eval."""
    limit: float | None = None
    """Number of documents or, below 1, fraction of them; None for all."""
    sample: SampleDraw | None = None
    """Random sample of the documents; None for all, or for the first ones by ``limit``."""
    apply_chat_template: bool = False
    template_arguments: Mapping[str, TemplateValue] = field(default_factory=dict)
    """Values of variables of the chat template."""
    system_instruction: str | None = None
    system_in_first_user_turn: bool = False
    """Whether the text of the system turn, a task's description included, is put in front of the first user turn's."""
    fewshot_as_multiturn: bool = True
    generation: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    """Number of answers to each document; None keeps the task's own."""
    k: tuple[int, ...] | None = None
    """The k of pass@k; None keeps the task's own."""
    allow_code: bool = False
    """Whether the user allows code that the model writes to run, in a sandbox."""
    adapter: str | None = None
    """Name of the LoRA adapter that answers; None for the model itself."""
    source: Path | None = None
    """Folder of the user's suite that defines the task; None for lm-eval's own tasks."""


@dataclass(frozen=True, slots=True)
class TaskRecipe:
    """Everything needed to score a leaf task without its data set; picklable, and JSON by ``to_json``."""

    task: str
    config: str
    """The task's whole configuration in the codec of ``values``, with functions by reference (``registry``).

    Another machine needs the same lm-eval, and needs the suite's folder only if the suite contains code.
    """
    first_doc: str
    """The task's first document, from which lm-eval learns whether there are several inputs or targets."""
    num_fewshot: int | None
    generation: Mapping[str, Any]
    seed: int
    repeats: int | None = None
    k: tuple[int, ...] | None = None
    runs_code: bool = False
    """Whether its metrics run code that the model writes."""

    def to_json(self) -> str:
        """Encode the recipe as JSON text."""
        return values.encode({**asdict(self), "generation": dict(self.generation)})

    @classmethod
    def from_json(cls, text: str) -> TaskRecipe:
        """Decode the recipe that ``to_json`` wrote."""
        return cls(**values.decode(text))
