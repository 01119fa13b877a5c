"""Score a code benchmark's own solutions as if a model had answered with them: what no model can exceed here.

A solution that does not pass is a limit, a missing module or a wrong test, and not the model's: it is told by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lm_eval.utils import apply_template

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.errors import explain
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.errors import InputError
from evalrun_runner.execution.verdicts import ProgramEnd
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, Response

SOLUTION_FIELDS = ("canonical_solution", "code")
"""Fields that hold the solution in HumanEval's data and its descendants, and in MBPP's."""
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Solved:
    """What became of one document's solution."""

    doc_id: int
    end: str
    """How its program ended, or ``error``."""
    detail: str

    @property
    def passed(self) -> bool:
        """Whether the solution passed its tests."""
        return self.end == ProgramEnd.PASSED


def solve(leaf: LeafTask, answer: str | None = None) -> Iterator[Solved]:
    """Score the solution of every document of a leaf task.

    Args:
        leaf: The leaf task; it runs code.
        answer: Jinja template of the answer; None: the field that holds the solution.

    Raises:
        InputError: The task runs no code, or its documents hold no solution.
        SandboxUnavailable: This machine can set up no sandbox.
    """
    if not leaf.recipe.runs_code:
        raise InputError(f"task {leaf.name!r} runs no code: expected a task of unsafe_code, such as humaneval or mbpp")
    scorer = Scorer(leaf.recipe)
    items = iter_items(leaf, None)
    while chunk := list(islice(items, _CHUNK)):
        yield from map(_solved, scorer.score(chunk, [_answered(leaf.name, item, answer) for item in chunk]))


def _answered(task: str, item: Item, template: str | None) -> Outcome:
    text = _solution(task, item.doc, template)
    responses = tuple(tuple(Response(text, "stop", 0, 0) for _ in range(request.repeats)) for request in item.requests)
    return Outcome(ItemStatus.OK, responses)


def _solution(task: str, doc: Mapping[str, Any], template: str | None) -> str:
    if template is not None:
        try:
            return str(apply_template(template, dict(doc)))
        except Exception as error:
            raise InputError(
                f"--answer cannot be rendered for a document of task {task!r}: {explain(error)}"
            ) from error
    for field in SOLUTION_FIELDS:
        if isinstance(doc.get(field), str):
            return str(doc[field])
    raise InputError(
        f"task {task!r}: its documents hold no {' and no '.join(SOLUTION_FIELDS)}; they hold {', '.join(sorted(doc))}\n"
        "hint: say with --answer where the solution is, as in --answer '{{solution}}'"
    )


def _solved(row: ItemResult) -> Solved:
    if row.executions is None:
        return Solved(row.doc_id, "error", row.outcome.error or "its metric ran no program")
    ends = json.loads(row.executions)
    worst = next((end for end in ends if end["cause"] != ProgramEnd.PASSED), ends[0])
    return Solved(row.doc_id, str(worst["cause"]), str(worst["detail"]))
