"""Comparison of a task's documents with each other: what is right alone may be wrong beside the others.

lm-eval decides by the first document whether all answers are lists, and whether prompts are indices. Labels that are
counted from one are all wrong, though only the highest is out of range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalrun_runner.benchmarks.checks.answers import AnswerKind
from evalrun_runner.benchmarks.checks.findings import DocumentFinding, Fault, shown


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a document's prompt or answer until all documents were looked at."""

    document: int
    kind: AnswerKind
    value: Any


@dataclass(frozen=True, slots=True)
class AnswerLabel:
    """Index that a document has for an answer."""

    document: int
    index: int
    choices: int
    """Number of choices."""
    as_text: int | None = None
    """Place of the choice whose text is this number; None if there is none."""


@dataclass(slots=True)
class DocumentComparison:
    """Prompts, answers and labels of the documents so far."""

    prompts: list[Seen] = field(default_factory=list)
    answers: list[Seen] = field(default_factory=list)
    labels: list[AnswerLabel] = field(default_factory=list)

    def odd_prompts(self) -> Iterator[DocumentFinding]:
        """Find the prompts that are blank, or digits that lm-eval reads as an index, where most are otherwise."""
        usual = usual_kind(self.prompts)
        for seen in self.prompts:
            match seen.kind:
                case kind if kind is usual:
                    continue
                case AnswerKind.BLANK:
                    yield DocumentFinding(Fault.PROMPT, seen.document, "doc_to_text", "blank", "text")
                case AnswerKind.INDEX:
                    hint = "a prompt of digits alone is read as an index: put a word before it, as in Q: {{question}}"
                    found = f"the number {shown(seen.value)}"
                    yield DocumentFinding(Fault.PROMPT, seen.document, "doc_to_text", found, "text", hint)
                case _ if usual is AnswerKind.INDEX:
                    expected = "an index of the choices, as in most documents"
                    yield DocumentFinding(Fault.PROMPT, seen.document, "doc_to_text", shown(seen.value), expected)

    def odd_answers(self, where: str) -> Iterator[DocumentFinding]:
        """Find the answers that are of another kind than most."""
        usual = usual_kind(self.answers)
        for seen in self.answers:
            if usual is not None and seen.kind is not usual:
                yield _mixed(seen, where, usual)

    def misread_answers(self, where: str, *, several: bool) -> Iterator[DocumentFinding]:
        """Find the answers that lm-eval reads as what they are not: as one answer, or with ``several`` as a list."""
        for seen in self.answers:
            if (seen.kind is AnswerKind.LIST) != several:
                yield _mixed(seen, where, AnswerKind.LIST if several else AnswerKind.SINGLE)

    def counted_from_one(self, where: str) -> Iterator[DocumentFinding]:
        """Find all labels of a task whose labels seem to be counted from one: none is 0, some are the last number."""
        labels = self.labels
        if len({label.document for label in labels}) < 2:
            return
        if any(not 1 <= label.index <= label.choices for label in labels):
            return
        if all(label.index < label.choices for label in labels):
            return
        hint = 'labels seem to be counted from one, and lm-eval counts from 0: doc_to_target: "{{answer|int - 1}}"'
        for label in {label.document: label for label in labels}.values():
            found = f"{label.index} of {label.choices} choices, among labels that seem to be counted from one"
            expected = f"an index from 0 to {label.choices - 1}"
            yield DocumentFinding(Fault.ANSWER, label.document, where, found, expected, hint)

    def meant_as_text(self, where: str) -> Iterator[DocumentFinding]:
        """Find labels that were meant as texts and are read as indices: some are the text of a choice and no index."""
        if not any(label.index >= label.choices and label.as_text is not None for label in self.labels):
            return
        hint = (
            'digits of a template, and numbers, are read as an index: doc_to_target: "{{choices.index(answer|string)}}"'
        )
        for label in self.labels:
            if label.as_text not in (None, label.index):
                found = f"{label.index}, read as an index, among answers that seem to be meant as text"
                expected = f"{label.as_text}, the index of the choice {str(label.index)!r}"
                yield DocumentFinding(Fault.ANSWER, label.document, where, found, expected, hint)


def usual_kind(seen: Sequence[Seen]) -> AnswerKind | None:
    """Return the most frequent kind; of equally frequent ones the first. None if there are none."""
    counts = Counter(one.kind for one in seen)
    return counts.most_common(1)[0][0] if counts else None


def _mixed(seen: Seen, where: str, usual: AnswerKind) -> DocumentFinding:
    hint = "lm-eval reads all answers of a task in one way: make them of one kind"
    found = f"{shown(seen.value)}, {seen.kind.value}"
    return DocumentFinding(Fault.MIXED, seen.document, where, found, f"{usual.value}, as in the other documents", hint)
