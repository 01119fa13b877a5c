"""What is wrong with a document, as data: which document, which field, what it holds, and what was expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST_CHARACTERS = 60
"""Characters of a value that a message shows."""


class Fault(StrEnum):
    """Kinds of faults; the value says of how many documents it is true."""

    NULL = "print a field that is null"
    UNREADABLE = "cannot be rendered"
    PROMPT = "have no prompt"
    CHOICES = "have choices that cannot be chosen from"
    NO_ANSWER = "have no answer"
    ANSWER = "have an answer that is none of the choices"
    EQUAL = "have an answer that is the later of equal choices"
    MIXED = "have an answer of another kind than the others"
    NOT_TEXT = "have an answer that no text is equal to"


@dataclass(frozen=True, slots=True)
class DocumentFinding:
    """Fault of one document."""

    fault: Fault
    document: int
    field: str
    """The task's field, or the document's field and the task's field that prints it."""
    found: str
    """What is there, quoted and cut."""
    expected: str
    hint: str = ""
    """What to do, the same text for all documents with the same cause; empty where nothing better than ``expected``
    is known."""

    @property
    def line(self) -> str:
        """Sentence for people, without task and document."""
        verb = "cannot be rendered:" if self.fault is Fault.UNREADABLE else "is"
        return f"{self.field} {verb} {self.found}; expected {self.expected}"


def shown(value: object) -> str:
    """Quote a value that came from outside for a message, and cut it."""
    text = repr(value[: MOST_CHARACTERS + 1] if isinstance(value, str) else value)
    if value is None:
        return "null"
    return text if len(text) <= MOST_CHARACTERS + 2 else f"{text[:MOST_CHARACTERS]}…"


def listed(choices: Sequence[object]) -> str:
    """List the first choices for a message."""
    first = ", ".join(shown(choice) for choice in choices[:6])
    return f"{first}, … ({len(choices)} in all)" if len(choices) > 6 else first


def best_hint(findings: Iterable[DocumentFinding]) -> str:
    """Return the hint that helps most of the findings, or an empty text."""
    hints = Counter(finding.hint for finding in findings if finding.hint)
    return hints.most_common(1)[0][0] if hints else ""
