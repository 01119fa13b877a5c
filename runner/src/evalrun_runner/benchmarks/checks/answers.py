"""Judgement of one document's answer and choices by how lm-eval will score them.

lm-eval 0.4.13 (``ConfigurableTask.process_results``) reads an answer in one of the ways of ``Use``. What it cannot read
it replaces by -100, which no model ever chooses, or by its text, which no model ever writes: the item scores 0 and
nothing is said. Here each of these is a finding.
"""

from __future__ import annotations

import re
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
    strict: bool = True
    """Whether the task is the user's own: what lm-eval reads, but was hardly meant, is a fault then."""


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
_DECIMAL = re.compile(r"[0-9]+\.0*")
_WHOLE = 'whole numbers stand without a decimal point, or: doc_to_target: "{{answer|int}}"'


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
        wrong = next((finding for finding in found if finding is not None), None)
        if wrong is not None and isinstance(answer[0], str):
            return replace(wrong, hint=_list_hint(answer, asked.choices))
        return wrong or _judge_equal(asked, answer)
    if not isinstance(answer, str):
        return _judge_index(asked, answer) or _judge_equal(asked, [answer])
    if answer in asked.choices:
        return None
    hint = asked.literal or _text_hint(answer, asked.choices)
    fault = Fault.ANSWER if answer.strip() else Fault.NO_ANSWER
    return DocumentFinding(fault, asked.document, asked.field, shown(answer), _expected(asked), hint)


def _judge_equal(asked: Asked, places: Sequence[int]) -> DocumentFinding | None:
    """Find right answers of which none can be chosen: of equal choices the first is, as the likeliest that is first."""
    first = {place: asked.choices.index(asked.choices[place]) for place in map(int, places)}
    if not asked.strict or any(place in first for place in first.values()):
        return None
    place, equal = next(iter(first.items()))
    found = f"{place}, and choice {place} is the same text as choice {equal}, {shown(asked.choices[place])}"
    expected = f"{equal}, as of equal choices only the first can be chosen"
    hint = "choices that differ; of equal choices the first is the right one"
    return DocumentFinding(Fault.EQUAL, asked.document, asked.field, found, expected, hint)


def _means_index(answer: bool, choices: Sequence[Any]) -> bool:
    """Return whether a truth value stands for the choice of that index, as in [no, yes]; in [yes, no] it does not."""
    words = tuple(str(choice).strip().casefold() for choice in choices)
    return words in {("no", "yes"), ("false", "true")} and 0 <= answer < len(words)


def _judge_index(asked: Asked, answer: Any) -> DocumentFinding | None:
    count = len(asked.choices)
    if isinstance(answer, bool) and asked.strict and not _means_index(answer, asked.choices):
        expected = f"{_expected(asked)}: true would be index 1, {shown(asked.choices[1])}"
        hint = (
            'a truth value is read as an index: doc_to_target: "{{answer|int}}" if false is the first choice and true '
            'the second, "{{1 - answer|int}}" if it is the other way round'
        )
        if str(answer) in asked.choices:
            hint = 'doc_to_target: "{{answer}}" is the text of the choice'
        return DocumentFinding(Fault.ANSWER, asked.document, asked.field, f"{answer} (bool)", expected, hint)
    # numpy's whole numbers are no ``int``, and index all the same.
    if not isinstance(answer, str | float) and hasattr(answer, "__index__") and 0 <= int(answer) < count:
        return None
    hint = asked.literal
    if isinstance(answer, float):
        hint = _WHOLE
    elif isinstance(answer, str) and answer in asked.choices:
        hint = 'a choice is given by its index here: doc_to_target: "{{choices.index(answer)}}"'
    elif isinstance(answer, str) and (answer.isdecimal() or _DECIMAL.fullmatch(answer)):
        hint = _WHOLE if not answer.isdecimal() else 'doc_to_target: "{{answer}}" reads digits as an index'
    kind = "" if isinstance(answer, int | str | float) else f" ({type(answer).__name__})"
    expected = f"an index from 0 to {count - 1}" if asked.use is Use.PLACE else _expected(asked)
    return DocumentFinding(Fault.ANSWER, asked.document, asked.field, f"{shown(answer)}{kind}", expected, hint)


def _list_hint(answers: Sequence[Any], choices: Sequence[Any]) -> str:
    """Say how a list of texts or letters becomes one of indices."""
    places = ""
    if all(one in choices for one in answers):
        places = "choices.index(one)"
    elif all(isinstance(one, str) and len(one) == 1 and one.upper() in _LETTERS for one in answers):
        places = f"'{_LETTERS[: len(choices)]}'.index(one{'|upper' if answers[0].islower() else ''})"
    start = "a list of right answers holds their indices, counted from 0"
    each = f"[{{% for one in answer %}}{{{{{places}}}}},{{% endfor %}}]"
    return f'{start}: doc_to_target: "{each}"' if places else start


def _text_hint(answer: str, choices: Sequence[Any]) -> str:
    """Say what was probably meant by a text that is no choice."""
    for choice in choices:
        if isinstance(choice, str) and choice.strip().casefold() == answer.strip().casefold():
            case = "|upper" if choice.isupper() else "|lower" if choice.islower() else ""
            return (
                f"{shown(answer)} and {shown(choice)} differ in case or spaces only: "
                f'doc_to_target: "{{{{answer|trim{case}}}}}" or a change of the data makes them equal'
            )
    if _DECIMAL.fullmatch(answer.strip()):
        return _WHOLE
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
        hint = "drop the null from the list, or fill it in" if wrong is None else _LIST_OF_NUMBERS
        return DocumentFinding(Fault.NOT_TEXT, asked.document, asked.field, found, "text or a list of texts", hint)
    return None


_LIST_OF_NUMBERS = (
    "an answer of the model is text, and so is each of a list of right ones: doc_to_target: "
    "\"{{answer|map('string')|list}}\" makes texts of a list of numbers; a text that is rendered as [1, 2] stays one "
    "where doc_to_target names the column itself"
)
