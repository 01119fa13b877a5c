"""What a benchmark is and how a leaf task is made again elsewhere. No lm-eval here: these travel between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evalrun_runner.benchmarks import values


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """One entry of ``spec.benchmarks``.

    ``task`` is an lm-eval task, group or tag; ``source`` the folder of a suite of the user's own that holds it.
    ``num_fewshot`` None keeps the task's own number, and a task that sets 0 keeps 0 whatever is said here, as in
    lm-eval. ``limit`` below 1 is a fraction of the documents, else a number of documents.
    """

    name: str
    task: str
    num_fewshot: int | None = None
    limit: float | None = None
    apply_chat_template: bool = False
    system_instruction: str | None = None
    fewshot_as_multiturn: bool = True
    generation: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None


@dataclass(frozen=True, slots=True)
class TaskRecipe:
    """All that scoring a leaf task takes, without its data set; picklable, and JSON by ``to_json``.

    ``config`` is the task's whole configuration in the codec of ``values``, functions by reference (``library``), so
    that another machine needs the same lm-eval, and the suite's folder only where the suite holds code.
    ``first_doc`` is the task's first document: lm-eval reads from it whether there are several inputs or targets.
    """

    task: str
    config: str
    first_doc: str
    num_fewshot: int | None
    generation: Mapping[str, Any]
    seed: int

    def to_json(self) -> str:
        """The recipe as JSON text."""
        return values.encode({**asdict(self), "generation": dict(self.generation)})

    @classmethod
    def from_json(cls, text: str) -> TaskRecipe:
        """The recipe that ``to_json`` wrote."""
        return cls(**values.decode(text))
