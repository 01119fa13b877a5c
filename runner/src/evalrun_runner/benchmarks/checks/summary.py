"""Decision on the documents of the user's own tasks: how many are wrong, and whether that is too many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from evalrun_api import RunWarning
from evalrun_runner.benchmarks.checks.findings import best_hint
from evalrun_runner.benchmarks.checks.survey import Survey
from evalrun_runner.errors import InputError
from evalrun_runner.records.plan import PlanNote

MOST_NAMED = 5
"""Documents that a message names."""


def check_surveys(surveys: Mapping[str, Survey], max_failed: int) -> tuple[RunWarning, ...]:
    """Refuse a run with more wrong documents than may fail; warn of the others.

    Args:
        surveys: What was found, by leaf task.
        max_failed: ``spec.policy.maxFailedItems``.

    Raises:
        InputError: More documents are wrong, or all of a task; the message names the first ones.
    """
    wrong = {task: survey for task, survey in surveys.items() if survey.wrong}
    total = sum(survey.wrong for survey in wrong.values())
    hopeless = {task: survey for task, survey in wrong.items() if len(survey.findings) == survey.documents}
    if total > max_failed:
        raise InputError(refusal(wrong, f", more than spec.policy.maxFailedItems ({max_failed}) allows"))
    if hopeless:
        raise InputError(refusal(hopeless, ": none is left to evaluate"))
    return tuple(_warnings(surveys))


def refusal(surveys: Mapping[str, Survey], why: str = "") -> str:
    """Say what is wrong: how many documents, the first ones by name, and what helps.

    Args:
        surveys: The surveys that found something, by leaf task.
        why: Reason for which the run ends, after the count.
    """
    total = sum(survey.wrong for survey in surveys.values())
    documents = sum(survey.documents for survey in surveys.values())
    count = sum(len(survey.findings) for survey in surveys.values())
    parts = [f"{count} of {documents} documents"] if count else []
    if total > count:
        parts.append(f"{total - count} few-shot example{'s' if total - count > 1 else ''}")
    lines = [f"{' and '.join(parts)} cannot be right{why}:"]
    named = list(_named(surveys))
    lines += [f"  {line}" for line in named[:MOST_NAMED]]
    if len(named) > MOST_NAMED:
        lines.append(f"  and {len(named) - MOST_NAMED} more")
    found = [one for survey in surveys.values() for findings in survey.findings.values() for one in findings]
    found += [one for survey in surveys.values() for one in survey.examples]
    if hint := best_hint(found):
        lines.append(f"hint: {hint}")
    return "\n".join(lines)


def _named(surveys: Mapping[str, Survey]) -> Iterator[str]:
    for task, survey in surveys.items():
        for document in survey.findings:
            yield f"task {task!r}, document {document}: {survey.fault(document)}"
        for finding in survey.examples:
            yield f"task {task!r}, few-shot example {finding.document}: {finding.line}"


def _warnings(surveys: Mapping[str, Survey]) -> Iterator[RunWarning]:
    for task, survey in surveys.items():
        if survey.wrong:
            first = next(_named({task: survey}))
            parts = [f"{len(survey.findings)} of {survey.documents} documents are wrong and failed by name"]
            if survey.examples:
                parts.append(f"{len(survey.examples)} few-shot examples are wrong and never shown")
            yield _warning(task, PlanNote(f"{', '.join(parts)}; {first}", survey.wrong))
        yield from warnings_of(task, survey.notes)


def warnings_of(task: str, notes: Iterable[PlanNote]) -> Iterator[RunWarning]:
    """Make the warnings of a task's notes."""
    return (_warning(task, note) for note in notes)


def _warning(task: str, note: PlanNote) -> RunWarning:
    return RunWarning(about=f"task {task}"[:256], message=note.message[:1024], count=note.count)
