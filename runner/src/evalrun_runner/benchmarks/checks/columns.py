"""Texts of a task that were meant as the name of a column: lm-eval takes a text that names none for the text itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

_USUAL_NAMES = frozenset(
    {
        *("answer", "answers", "answerkey", "choice", "choices", "completion", "correct", "expected", "gold", "goal"),
        *("input", "inputs", "label", "labels", "output", "outputs", "prompt", "query", "question", "questions"),
        *("reference", "references", "response", "result", "solution", "target", "targets", "text", "truth"),
    }
)
"""Names that columns of benchmarks have; none of them is a likely question, or a likely answer to all questions."""
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)+|[a-z]+([A-Z][a-z0-9]*)+")
"""Names in the writing of programmers: ``correct_answer``, ``answerKey``."""
_MOST_COLUMNS = 12


def meant_column(text: str, columns: Sequence[str]) -> str:
    """Explain that a text of the task was probably meant to name a column.

    Args:
        text: ``doc_to_text``, ``doc_to_target`` or ``doc_to_choice`` as the task's YAML has it.
        columns: The columns of the data.

    Returns:
        What to do, with the near miss; empty where the text may well be meant as it stands.
    """
    if not is_literal(text, columns):
        return ""
    near = nearest(text, columns)
    if not near and text.casefold() not in _USUAL_NAMES and not _IDENTIFIER.fullmatch(text):
        return ""
    start = f"did you mean {near}? " if near else ""
    return f"{start}{there_is(columns)}. A text that is meant as it stands is written \"{{{{'{text}'}}}}\""


def nearest(text: str, columns: Sequence[str]) -> str:
    """Return the column whose name is nearest to a text, or an empty text if none is near."""
    by_name = {column.casefold(): column for column in columns}
    wanted = text.strip().casefold()
    close = difflib.get_close_matches(wanted, by_name, n=1, cutoff=0.7)
    return by_name[close[0]] if close else ""


def there_is(columns: Sequence[str]) -> str:
    """List the columns for a message."""
    more = ", …" if len(columns) > _MOST_COLUMNS else ""
    return f"the columns are {', '.join(columns[:_MOST_COLUMNS])}{more}"


def is_literal(text: object, columns: Sequence[str]) -> bool:
    """Return whether a field of the task is a text that is the same for every document."""
    return isinstance(text, str) and bool(text.strip()) and text not in columns and "{" not in text
