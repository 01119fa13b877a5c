"""What is shown of a sample: texts that are cut, and fit to be escaped and shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalrun_runner.benchmarks import values
from evalrun_runner.comparing.answers import answer_of
from evalrun_runner.execution.verdicts import ProgramEnd
from evalrun_runner.records.plan import Item, RequestType
from evalrun_runner.records.results import Answer, ItemResult, ItemStatus
from evalrun_runner.report.details import (
    MOST_ANSWER,
    MOST_PROMPT,
    MOST_TARGET,
    ItemDetails,
    prompt_of,
    target_of,
)
from evalrun_runner.report.samples import SamplePlace
from evalrun_runner.report.text import one_line, shown

_MOST_LINES = 20
"""Filters, and metrics, that are shown of an item."""
_MOST_PROGRAMS = 3
"""Programs that did not pass of which an item says how they ended."""


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What one run has of an item."""

    answer: str
    filtered: tuple[tuple[str, str], ...]
    """What each filter made of the first response."""
    scores: tuple[tuple[str, str], ...]
    """``metric,filter`` and the value."""
    why: str
    """Why the item has no score, or what is wrong with its answer; empty where nothing is."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An item with its answer, and that of another run."""

    task: str
    doc: str
    prompt: str
    target: str
    ours: ShownAnswer
    theirs: ShownAnswer | None = None


@dataclass(frozen=True, slots=True)
class SamplesContent:
    """Samples of a run, with what is said about their choice."""

    title: str
    remark: str
    """How many items there are, and how those that are shown were chosen."""
    samples: Sequence[Sample]


def read_sample(place: SamplePlace, details: ItemDetails, other: ItemDetails | None) -> Sample:
    """Read a chosen item.

    Args:
        place: Where it lies.
        details: Reader of the run's items.
        other: Reader of the items of the run that it is compared with.

    Raises:
        LedgerCorrupt: It cannot be read back.
    """
    item, result = details.read(place.here)
    theirs = None
    if other is not None and place.there is not None:
        theirs = shown_answer(*other.read(place.there))
    return Sample(
        task=one_line(item.task),
        doc=str(item.doc_id),
        prompt=shown(prompt_of(item), MOST_PROMPT),
        target=shown(_target(item, result), MOST_TARGET),
        ours=shown_answer(item, result),
        theirs=theirs,
    )


def shown_answer(item: Item, result: ItemResult) -> ShownAnswer:
    """Return what is shown of an item's result."""
    filtered = values.decode(result.filtered or "{}")
    scores = values.decode(result.scores or "{}")
    return ShownAnswer(
        answer=shown(answer_of(item, result), MOST_ANSWER),
        filtered=tuple(
            (one_line(str(name)), shown(_first(answers), MOST_TARGET))
            for name, answers in list(filtered.items())[:_MOST_LINES]
        )
        if item.requests and item.requests[0].type is RequestType.GENERATE_UNTIL
        else (),
        scores=tuple(
            (one_line(f"{metric},{name}"), one_line(_number(value)))
            for name, metrics in scores.items()
            for metric, value in metrics.items()
        )[:_MOST_LINES],
        why=one_line(_why(result), 1_000),
    )


def _why(result: ItemResult) -> str:
    outcome = result.outcome
    if outcome.status is not ItemStatus.OK:
        return f"{outcome.status.value}: {outcome.error or 'no reason was written'}"
    said = [] if outcome.answer in {None, Answer.COMPLETE} else [f"the answer is {outcome.answer}"]
    return "; ".join([*said, *_programs(result)])


def _programs(result: ItemResult) -> Iterator[str]:
    """Yield how the item's programs ended that did not pass, the first ones in full."""
    ends = [end for end in json.loads(result.executions or "[]") if end["cause"] != ProgramEnd.PASSED]
    for end in ends[:_MOST_PROGRAMS]:
        yield f"its program: {end['cause']}" + (f" ({end['detail']})" if end["detail"] else "")
    if len(ends) > _MOST_PROGRAMS:
        yield f"{len(ends) - _MOST_PROGRAMS} more did not pass"


def _target(item: Item, result: ItemResult) -> str:
    """Return the right answer; of a choice with its text."""
    if result.target is None:
        return target_of(item)
    choices = item.requests
    likelihoods = bool(choices) and choices[0].type is RequestType.LOGLIKELIHOOD
    if likelihoods and result.target.isdecimal() and int(result.target) < len(choices):
        contexts = {str(request.arguments[0]) for request in choices}
        chosen = choices[int(result.target)].arguments
        return f"{result.target}: {str(chosen[-1] if len(contexts) == 1 else chosen[0]).strip()}"
    return result.target


def _first(answers: object) -> str:
    first = answers[0] if isinstance(answers, list) and answers else answers
    return first if isinstance(first, str) else json.dumps(first, default=str)


def _number(value: object) -> str:
    return f"{float(value):.6g}" if isinstance(value, int | float) else str(value)
