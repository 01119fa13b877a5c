"""Survey of a task's documents: each one's prompt, choices and answer, as lm-eval will read them.

A document is wrong if a template prints a field that is null, if its choices cannot be compared, or if its answer is
one that no model can give. lm-eval scores all of these, mostly with 0. Pure but for the task's own functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

from lm_eval.api.task import ConfigurableTask, Task

from evalrun_runner.benchmarks.checks.answers import AnswerKind, Asked, Use, judge_answer, judge_choices, kind_of
from evalrun_runner.benchmarks.checks.columns import is_literal, meant_column, nearest, there_is
from evalrun_runner.benchmarks.checks.comparison import AnswerLabel, DocumentComparison, Seen, usual_kind
from evalrun_runner.benchmarks.checks.findings import DocumentFinding, Fault, shown
from evalrun_runner.benchmarks.checks.nulls import TemplateFields
from evalrun_runner.benchmarks.checks.reading import TaskReading
from evalrun_runner.benchmarks.checks.survey import Survey
from evalrun_runner.benchmarks.errors import explain
from evalrun_runner.records.plan import PlanNote

_FILL_IN = "fill the field in, or drop the row"


def survey_documents(task: Task, documents: Callable[[], Iterable[tuple[int, Any]]]) -> Survey:
    """Look at all documents of a user's own task.

    Args:
        task: lm-eval's task. Whether its prompts are indices (``multiple_input``) is what most documents say.
        documents: Returns the numbers and documents; what is no JSON object is passed over.
    """
    judge = DocumentJudge(task, strict=True)
    for number, doc in documents():
        judge.look(number, doc)
    if judge.misjudges_inputs:
        task.multiple_input = 0 if task.multiple_input else 1
        return survey_documents(task, documents)
    return judge.survey()


class DocumentJudge:
    """Judge of the documents of one task, which are shown to it one by one.

    Args:
        task: lm-eval's task.
        strict: Whether the task is the user's own. Then the kind of most answers is the right one, and a text that
            names no column is looked at. Else lm-eval's reading stands, and the task's functions are not called, as
            they may have a state.
    """

    def __init__(self, task: Task, *, strict: bool) -> None:
        self._task = task
        self._strict = strict
        self._documents = 0
        self._findings: dict[int, tuple[DocumentFinding, ...]] = {}
        self._all = DocumentComparison()
        self._repeated: list[int] = []
        self._blank: list[int] = []
        self._digits: set[int] = set()
        self._empty: dict[tuple[str, str], list[int]] = {}
        # A task of another class, or with a prompt of promptsource, says nothing of how it reads its documents.
        self._knows = isinstance(task, ConfigurableTask) and task.prompt is None
        if self._knows:
            self._reading = TaskReading(task, strict=strict)

    def look(self, document: int, doc: Any) -> None:
        """Look at one document."""
        self._documents += 1
        if not self._knows or not isinstance(doc, Mapping):
            return
        given = deepcopy(dict(doc)) if self._reading.calls else doc
        found = tuple(map(self._in_own_words, self._look(document, given)))
        if found:
            self._findings[document] = found

    @property
    def misjudges_inputs(self) -> bool:
        """Whether most prompts are indices and the task takes them for text, or the other way round."""
        if not self._knows or not self._all.prompts:
            return False
        return self._reading.inputs != (usual_kind(self._all.prompts) is AnswerKind.INDEX)

    def survey(self) -> Survey:
        """Compare the documents with each other, and return what was found."""
        if not self._knows:
            return Survey(self._documents)
        where = self._reading.where
        for finding in [*self._all.counted_from_one(where), *self._all.meant_as_text(where)]:
            # Said better than that the highest label is out of range.
            rest = (one for one in self._findings.get(finding.document, ()) if one.fault is not Fault.ANSWER)
            self._findings[finding.document] = (*rest, self._in_own_words(finding))
        if self._strict:
            compared = [*self._all.odd_prompts(), *self._all.odd_answers(where)]
        else:
            compared = list(self._all.misread_answers(where, several=bool(self._task.multiple_target)))
        for finding in compared:
            self._findings[finding.document] = (*self._findings.get(finding.document, ()), finding)
        ordered = {document: self._findings[document] for document in sorted(self._findings)}
        return Survey(self._documents, ordered, tuple(self._notes()))

    # -- one document ------------------------------------------------------------------------------------------------

    def _look(self, document: int, doc: Mapping[str, Any]) -> Iterator[DocumentFinding]:
        holes: set[str] = set()
        for key, fields in self._reading.printed:
            if self._strict and key != "doc_to_choice":
                for name in fields.printed_blanks(doc):
                    self._empty.setdefault((name, key), []).append(document)
            for path in fields.printed_nulls(doc):
                holes.add(key)
                hint = _FILL_IN
                if key != "doc_to_target":
                    root = re.split(r"[.\[]", path)[0]
                    hint += f"; a template gives it a default by {{{{{root} or ''}}}}"
                yield DocumentFinding(Fault.NULL, document, f"{path}, which {key} prints,", "null", "a value", hint)
        values: dict[str, Any] = {}
        for key in self._reading.reads:
            try:
                values[key] = getattr(self._task, key)(doc)
            except Exception as error:  # noqa: BLE001  a template may raise anything
                if not holes:
                    yield _unreadable(self._reading, document, doc, key, error)
                return
        for key in holes:
            values.pop(key, None)
        if "doc_to_text" in values:
            yield from self._judge_prompt(document, values["doc_to_text"])
        yield from self._judge_answer(document, values)

    def _judge_prompt(self, document: int, text: Any) -> Iterator[DocumentFinding]:
        if isinstance(text, int) and self._reading.setting("doc_to_choice") is not None:
            self._all.prompts.append(Seen(document, AnswerKind.INDEX, text))
        elif not isinstance(text, str):
            found = "null" if text is None else f"{shown(text)} ({type(text).__name__})"
            yield DocumentFinding(Fault.PROMPT, document, self._reading.named("doc_to_text"), found, "text")
        elif hint := self._reading.meant["doc_to_text"]:
            found = f"{shown(text)}, which is no column"
            yield DocumentFinding(Fault.PROMPT, document, "doc_to_text", found, "a column or a template", hint)
        else:
            self._all.prompts.append(Seen(document, AnswerKind.TEXT if text.strip() else AnswerKind.BLANK, text[:100]))

    def _judge_answer(self, document: int, values: Mapping[str, Any]) -> Iterator[DocumentFinding]:
        choices: Sequence[Any] = ()
        if self._reading.use in (Use.CHOICE, Use.PLACE):
            if "doc_to_choice" not in values:
                return
            choices = values["doc_to_choice"]
            if (wrong := judge_choices(document, choices)) is not None:
                yield wrong
                return
            if len(set(choices)) < len(choices):
                self._repeated.append(document)
        # Where the prompts are the choices, the index of the right one is in doc_to_text.
        key = "doc_to_text" if self._reading.inputs else "doc_to_target"
        if key not in values:
            return
        answer, hint = values[key], self._reading.meant["doc_to_target"]
        self._note_labels(document, answer, choices)
        if self._reading.use is Use.DOCUMENT and isinstance(answer, str) and not answer.strip():
            self._blank.append(document)
        wrong = judge_answer(
            Asked(document, self._reading.use, choices, self._reading.where, hint, self._strict), answer
        )
        if wrong is None and hint and self._reading.use is Use.TEXT:
            found = f"{shown(answer)}, which is no column"
            wrong = DocumentFinding(Fault.ANSWER, document, self._reading.where, found, "a column or a template", hint)
        if wrong is not None:
            yield wrong
        elif (kind := kind_of(self._reading.use, answer)) is not None:
            self._all.answers.append(Seen(document, kind, answer))

    def _note_labels(self, document: int, answer: Any, choices: Sequence[Any]) -> None:
        if not choices:
            return
        for label in answer if isinstance(answer, list | tuple) else [answer]:
            if isinstance(label, str) and label.isdecimal() and label not in choices:
                # Read as text it is no choice; that it is counted from one explains it better.
                self._all.labels.append(AnswerLabel(document, int(label), len(choices)))
            if isinstance(label, int) and not isinstance(label, bool):
                as_text = choices.index(str(label)) if str(label) in choices else None
                self._all.labels.append(AnswerLabel(document, label, len(choices), as_text))
                if as_text not in (None, label):
                    self._digits.add(document)

    # -- the task ----------------------------------------------------------------------------------------------------

    def _notes(self) -> Iterator[PlanNote]:
        if count := len(self._repeated):
            yield PlanNote(
                f"{count} of {self._documents} documents have a choice twice, the first is document "
                f"{self._repeated[0]}: of two equal choices only the first can be chosen",
                count,
            )
        if count := len(self._blank):
            yield PlanNote(
                f"{count} of {self._documents} texts are blank, the first is document {self._blank[0]}; lm-eval counts "
                "a word in each",
                count,
            )
        if not self._strict:
            return
        for (name, key), documents in self._empty.items():
            # What is wrong, or counted, otherwise is named anyway.
            if empty := [one for one in documents if one not in self._findings and one not in self._blank]:
                yield PlanNote(
                    f"{len(empty)} of {self._documents} documents have an empty {name!r}, which {key} prints; the "
                    f"first is document {empty[0]}",
                    len(empty),
                )
        if (count := len(self._digits)) > 1 and self._digits == {label.document for label in self._all.labels}:
            yield PlanNote(
                f"all {count} answers that are digits are read as indices, though the choices have the same digits as "
                "text at other places; the cells of a column of text are compared as text",
                count,
            )
        target = self._reading.setting("doc_to_target")
        if self._reading.use is Use.TEXT and self._documents > 1 and is_literal(target, self._reading.columns):
            yield PlanNote(
                f"the answer is the same for all {self._documents} documents: doc_to_target is the text "
                f"{shown(target)}, which is no column",
                self._documents,
            )

    def _in_own_words(self, finding: DocumentFinding) -> DocumentFinding:
        """Put the names of the task's own columns into a hint, where it speaks of ``answer`` and ``choices``."""
        # The hint on a null names its field already.
        hint = finding.hint if finding.fault is Fault.NULL else self._reading.own.put_into(finding.hint)
        return finding if hint == finding.hint else replace(finding, hint=hint)


def _unreadable(
    reading: TaskReading, document: int, doc: Mapping[str, Any], key: str, error: Exception
) -> DocumentFinding:
    value, hint = reading.setting(key), ""
    found = re.sub(r" at 0x[0-9a-f]+", "", explain(error))  # an address differs from run to run
    if isinstance(value, str):
        names = TemplateFields(value).names
        if nulls := sorted(name for name in names if name in doc and doc[name] is None):
            where = f"{nulls[0]}, which {key} reads,"
            return DocumentFinding(Fault.NULL, document, where, "null", "a value", _FILL_IN)
        if hint := meant_column(value, reading.columns):
            found = f"{shown(value)} is no column"
        missing = sorted(names.difference(reading.columns))
        if missing:
            near = nearest(missing[0], reading.columns)
            hint = (f"did you mean {near}? " if near else "") + there_is(reading.columns)
    expected = "a list of texts" if key == "doc_to_choice" else "text"
    return DocumentFinding(Fault.UNREADABLE, document, key, found, expected, hint)
