"""Problem and InvalidInput: what is wrong with an input, for the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: str
    """Field as YAML spells it, ``spec.benchmarks[0].task``; '' for the whole document."""
    message: str
    """What was found, what is expected, and why."""
    unknown: bool = False
    """Whether the field, or the word in it, is not one of this version: a misspelling, or another version's."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidInput(Exception):
    """An input that breaks the contract, with everything that is wrong with it."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        """Create the error from the input's name (a file, ``-``) and at least one problem."""
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.source}: {self.problems[0]}"
        return "\n".join([f"{self.source}: {len(self.problems)} problems", *(f"  {each}" for each in self.problems)])
