"""Few-shot examples: whether they are whole, and whether they show the answer of the very item that is asked.

Many tasks draw their examples from the split that they evaluate. lm-eval leaves the item's own document out only where
the few-shot split has the name of the test split (``ConfigurableTask.fewshot_context``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval.api.task import ConfigurableTask, Task

from evalrun_runner.benchmarks.checks.findings import DocumentFinding, Fault, shown
from evalrun_runner.benchmarks.checks.nulls import TemplateFields
from evalrun_runner.benchmarks.checks.survey import Survey
from evalrun_runner.benchmarks.errors import explain
from evalrun_runner.records.plan import PlanNote


class OwnAnswers:
    """Counter of the items whose prompt has an example with the item's own question and answer.

    Two documents are the same if the fields are equal that the task's templates name; all fields, where the task reads
    its documents by functions.
    """

    def __init__(self, task: Task) -> None:
        self._sampler = getattr(task, "sampler", None) if _shots(task) else None
        self._fields = _fields_read(task)
        self._drawn: Sequence[Any] = ()
        self._items = 0
        self._first: int | None = None
        self._shown = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the examples that the task draws inside the block."""
        sampler = self._sampler
        if sampler is None:
            yield
            return
        draw = sampler.sample

        def sample(*args: Any, **kwargs: Any) -> Any:
            drawn = draw(*args, **kwargs)
            self._drawn = drawn
            return drawn

        sampler.sample = sample
        try:
            yield
        finally:
            vars(sampler).pop("sample", None)

    def count(self, document: int, doc: Mapping[str, Any]) -> None:
        """Count an item, after its prompt was built."""
        self._items += 1
        drawn, self._drawn = self._drawn, ()
        if any(self._same(doc, example) for example in drawn):
            self._shown += 1
            self._first = document if self._first is None else self._first

    def note(self) -> PlanNote | None:
        """Return how many items show their answer; None if none does."""
        if not self._shown:
            return None
        return PlanNote(
            f"{self._shown} of {self._items} prompts show the answer that they ask for: a few-shot example is the "
            f"item's own document, the first time in document {self._first}. The task draws its examples from what it "
            "evaluates, as lm-eval does",
            self._shown,
        )

    def _same(self, doc: Mapping[str, Any], example: Any) -> bool:
        if not isinstance(example, Mapping):
            return False
        if self._fields is None or not self._fields <= doc.keys():
            return bool(doc == example)
        return all(name in example and doc[name] == example[name] for name in self._fields)


def survey_examples(task: Task, known: Collection[int]) -> tuple[DocumentFinding, ...]:
    """Look at the documents of which a user's own task draws its few-shot examples.

    Args:
        task: lm-eval's task.
        known: Documents that were found to be wrong where they are evaluated; they are not named twice.

    Returns:
        The faults. ``document`` is the number among the examples.
    """
    if not isinstance(task, ConfigurableTask) or task.prompt is not None or not _shots(task):
        return ()
    if not hasattr(task, "sampler"):
        return ()
    few = task.fewshot_cfg
    printed = [
        (key, TemplateFields(value))
        for key in ("doc_to_text", "doc_to_target")
        if isinstance(value := getattr(few, key), str) and "{" in value and value not in task.features
    ]
    named = known if _draws_from_evaluated(task) else ()
    found = (
        _look_at_example(task, number, doc, printed)
        for number, doc in enumerate(task.sampler.df)
        if isinstance(doc, Mapping) and number not in named
    )
    return tuple(finding for finding in found if finding is not None)


def leave_out_wrong_examples(task: Task, survey: Survey) -> None:
    """Let a task draw its few-shot examples of the documents that are right only."""
    wrong = {finding.document for finding in survey.examples}
    if isinstance(task, ConfigurableTask) and _shots(task) and hasattr(task, "sampler"):
        wrong |= survey.findings.keys() if _draws_from_evaluated(task) else set()
        if wrong:
            task.sampler.replace_df([doc for number, doc in enumerate(task.sampler.df) if number not in wrong])


def _draws_from_evaluated(task: ConfigurableTask) -> bool:
    """Return whether the examples are the documents of the split that is evaluated."""
    config, few = task.config, task.fewshot_cfg
    if few.split is None and few.samples is not None:
        return False
    drawn = few.split or config.training_split or config.validation_split or config.test_split
    return bool(drawn == (config.test_split or config.validation_split))


def _look_at_example(
    task: ConfigurableTask, number: int, doc: Mapping[str, Any], printed: Sequence[tuple[str, TemplateFields]]
) -> DocumentFinding | None:
    for key, fields in printed:
        for path in fields.printed_nulls(doc):
            return DocumentFinding(Fault.NULL, number, f"{path}, which {key} prints,", "null", "a value")
    few, key = task.fewshot_cfg, "doc_to_text"
    try:
        text = task.doc_to_text(doc, few.doc_to_text)
        key = "doc_to_choice"
        choices = task.doc_to_choice(doc, few.doc_to_choice) if few.doc_to_choice else None
        key = "doc_to_target"
        answer = task.doc_to_target(doc, few.doc_to_target)
    except Exception as error:  # noqa: BLE001  a template may raise anything
        return DocumentFinding(Fault.UNREADABLE, number, key, explain(error), "text")
    if text is None:
        return DocumentFinding(Fault.PROMPT, number, "doc_to_text", "null", "text")
    first = answer[0] if isinstance(answer, list) and answer else answer
    if first is None or first == []:
        found = "null" if first is None else "an empty list"
        return DocumentFinding(Fault.NO_ANSWER, number, "doc_to_target", found, "an answer to show")
    # Where the prompts are the choices, the answer is the text that follows them.
    if choices and isinstance(answer, int) and not task.multiple_input and not 0 <= answer < len(choices):
        expected = f"an index from 0 to {len(choices) - 1}"
        return DocumentFinding(Fault.ANSWER, number, "doc_to_target", shown(answer), expected)
    return None


def _shots(task: Task) -> int:
    return task.get_config("num_fewshot") or 0


def _fields_read(task: Task) -> frozenset[str] | None:
    """Return the document's fields that make question and answer; None if functions of the task read it."""
    if not isinstance(task, ConfigurableTask) or task.prompt is not None:
        return None
    fields: set[str] = set()
    for key in ("doc_to_text", "doc_to_choice", "doc_to_target"):
        value = getattr(task.config, key, None)
        if callable(value):
            return None
        if isinstance(value, str):
            fields |= {value} if value in task.features else TemplateFields(value).names
    return frozenset(fields) or None
