"""Judgement of one document's answer and choices by how lm-eval will score them.

lm-eval 0.4.13 (``ConfigurableTask.process_results``) reads an answer in one of the ways of ``Use``. What it cannot read
it replaces by -100, which no model ever chooses, or by its text, which no model ever writes: the item scores 0 and
nothing is said. Here each of these is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from evalrun_runner.benchmarks.checks.findings import DocumentFinding, Fault, listed, shown


class Use(Enum):
    """How lm-eval scores with the answer of a document."""

    CHOICE = auto()
    """Multiple choice: the index of a choice, the text of one, or a list of indices that are all right."""
    PLACE = auto()
    """Generation with ``doc_to_choice``: the index of the choice that must be written."""
    TEXT = auto()
    """Generation: the text that must be written, or a list of texts of which one must be."""
    CONTINUATION = auto()
    """The text whose probability is asked for."""
    DOCUMENT = auto()
    """The text whose perplexity is asked for."""
    NOTHING = auto()
    """Not at all: the task scores by a function of its own, or its metric asks for no answer."""


class AnswerKind(Enum):
    """Kinds of answers and prompts, of which all of a task are to be of one."""

    BLANK = "blank"
    INDEX = "an index"
    TEXT = "text"
    SINGLE = "one answer"
    LIST = "a list of answers"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one document's answer."""

    document: int
    use: Use
    choices: Sequence[Any] = ()
    field: str = "doc_to_target"
    literal: str = ""
    """What to know of ``doc_to_target`` where it is a text for all documents alike."""


def judge_choices(document: int, choices: object) -> DocumentFinding | None:
    """Find what keeps choices from being compared: each is to be text that is not blank, and there are two at least."""

    def finding(found: str, expected: str, hint: str = "", where: str = "") -> DocumentFinding:
        return DocumentFinding(Fault.CHOICES, document, f"doc_to_choice{where}", found, expected, hint)

    if not isinstance(choices, list | tuple):
        hint = ""
        if isinstance(choices, str):
            hint = "a column of text is no list: doc_to_choice: \"{{choices.split(',')}}\", or lists in a JSON file"
        if isinstance(choices, dict):
            hint = f'name the list in it: doc_to_choice: "{{{{choices.{next(iter(choices), "text")}}}}}"'
        return finding(shown(choices), "a list of texts", hint)
    for place, choice in enumerate(choices):
        where = f"[{place}]"
        if choice is None:
            return finding("null", "text", "drop the row, or fill the choice in", where)
        if not isinstance(choice, str):
            hint = "make text of it: doc_to_choice: \"{{choices|map('string')|list}}\""
            return finding(f"{shown(choice)} ({type(choice).__name__})", "text", hint, where)
        if not choice.strip():
            hint = "a question with fewer choices lists only those that it has"
            return finding(f"{shown(choice)}, which is blank", "text", hint, where)
    if len(choices) < 2:
        return finding(f"a list of {len(choices)}", "two choices or more: a single one is always right")
    return None


def judge_answer(asked: Asked, answer: Any) -> DocumentFinding | None:
    """Find what makes an answer one that no model can give."""
    if asked.use is Use.NOTHING:
        return None
    if answer is None or (isinstance(answer, float) and answer != answer):  # noqa: PLR0124  NaN
        found = "null" if answer is None else "not a number"
        return DocumentFinding(Fault.NO_ANSWER, asked.document, asked.field, found, _expected(asked))
    match asked.use:
        case Use.CHOICE:
            return _judge_choice(asked, answer)
        case Use.PLACE:
            return _judge_index(asked, answer)
        case Use.TEXT:
            return _judge_text(asked, answer)
    if not isinstance(answer, str):
        found = f"{shown(answer)} ({type(answer).__name__})"
        return DocumentFinding(Fault.NOT_TEXT, asked.document, asked.field, found, "text", _AS_TEXT)
    # Of a text whose perplexity is asked, a blank one adds nothing; a note counts these.
    return None if answer.strip() or asked.use is Use.DOCUMENT else _blank(asked, answer)


def kind_of(use: Use, answer: Any) -> AnswerKind | None:
    """Return the kind of an answer that was found right by itself; None where kinds do not matter."""
    if use is Use.CHOICE:
        if isinstance(answer, list | tuple):
            return AnswerKind.LIST
        return AnswerKind.TEXT if isinstance(answer, str) else AnswerKind.INDEX
    if use is Use.TEXT:
        return AnswerKind.LIST if isinstance(answer, list | tuple) else AnswerKind.SINGLE
    return None


_AS_TEXT = 'make text of it: doc_to_target: "{{answer}}"'
_LETTERS = "ABCDEFGHIJ"


def _expected(asked: Asked) -> str:
    count = len(asked.choices)
    match asked.use:
        case Use.CHOICE:
            return f"an index from 0 to {count - 1}, or one of {listed(asked.choices)}"
        case Use.PLACE:
            return f"an index from 0 to {count - 1}"
    return "text"


def _blank(asked: Asked, answer: str) -> DocumentFinding:
    return DocumentFinding(Fault.NO_ANSWER, asked.document, asked.field, f"{shown(answer)}, which is blank", "text")


def _judge_choice(asked: Asked, answer: Any) -> DocumentFinding | None:
    if isinstance(answer, list | tuple):
        if not answer:
            expected = "the indices of the choices that are right"
            return DocumentFinding(Fault.NO_ANSWER, asked.document, asked.field, "an empty list", expected)
        found = (_judge_index(replace(asked, use=Use.PLACE), entry) for entry in answer)
        return next((finding for finding in found if finding is not None), None)
    if not isinstance(answer, str):
        return _judge_index(asked, answer)
    if answer in asked.choices:
        return None
    hint = asked.literal or _text_hint(answer, asked.choices)
    fault = Fault.ANSWER if answer.strip() else Fault.NO_ANSWER
    return DocumentFinding(fault, asked.document, asked.field, shown(answer), _expected(asked), hint)


def _judge_index(asked: Asked, answer: Any) -> DocumentFinding | None:
    count = len(asked.choices)
    # numpy's whole numbers are no ``int``, and index all the same.
    if not isinstance(answer, str | float) and hasattr(answer, "__index__") and 0 <= int(answer) < count:
        return None
    hint = asked.literal
    if isinstance(answer, float):
        hint = 'whole numbers stand without a decimal point, or: doc_to_target: "{{answer|int}}"'
    elif isinstance(answer, str) and answer in asked.choices:
        hint = 'a choice is given by its index here: doc_to_target: "{{choices.index(answer)}}"'
    elif isinstance(answer, str) and answer.isdecimal():
        hint = 'doc_to_target: "{{answer}}" reads digits as an index'
    kind = "" if isinstance(answer, int | str | float) else f" ({type(answer).__name__})"
    expected = f"an index from 0 to {count - 1}" if asked.use is Use.PLACE else _expected(asked)
    return DocumentFinding(Fault.ANSWER, asked.document, asked.field, f"{shown(answer)}{kind}", expected, hint)


def _text_hint(answer: str, choices: Sequence[Any]) -> str:
    """Say what was probably meant by a text that is no choice."""
    for choice in choices:
        if isinstance(choice, str) and choice.strip().casefold() == answer.strip().casefold():
            case = "|upper" if choice.isupper() else "|lower" if choice.islower() else ""
            return (
                f"{shown(answer)} and {shown(choice)} differ in case or spaces only: "
                f'doc_to_target: "{{{{answer|trim{case}}}}}" or a change of the data makes them equal'
            )
    if answer.strip().isdigit():
        return 'a column of text is compared as text: doc_to_target: "{{answer}}" reads digits as an index'
    place = _LETTERS.find(answer.strip().upper()) if len(answer.strip()) == 1 else -1
    if 0 <= place < len(choices):
        letters = ", ".join(_LETTERS[: len(choices)])
        return f"where the letter of a choice is the answer, the choices are the letters: doc_to_choice: [{letters}]"
    return ""


def _judge_text(asked: Asked, answer: Any) -> DocumentFinding | None:
    if isinstance(answer, str):
        return None if answer.strip() else _blank(asked, answer)
    if isinstance(answer, dict):
        hint = f'name the list in it: doc_to_target: "{{{{answers.{next(iter(answer), "text")}}}}}"'
        expected = "text or a list of texts"
        return DocumentFinding(Fault.NOT_TEXT, asked.document, asked.field, shown(answer), expected, hint)
    if not isinstance(answer, list | tuple):
        return None  # a number is compared as its text
    if not answer:
        hint = 'where writing nothing is right, the accepted answer is an empty text: [""]'
        expected = "one accepted answer or more"
        return DocumentFinding(Fault.NO_ANSWER, asked.document, asked.field, "an empty list", expected, hint)
    wrong = next((entry for entry in answer if not isinstance(entry, str)), "")
    if not isinstance(wrong, str):
        kind = "null" if wrong is None else f"{shown(wrong)} ({type(wrong).__name__})"
        found = f"{shown(answer)}, a list with {kind}"
        return DocumentFinding(
            Fault.NOT_TEXT, asked.document, asked.field, found, "text or a list of texts", _LIST_OF_NUMBERS
        )
    return None


_LIST_OF_NUMBERS = (
    "an answer that is rendered as [1, 2] is read as a list of numbers, and an answer of the model is text: name the "
    "column itself (doc_to_target: answer) for the text as it stands, or list texts"
)
