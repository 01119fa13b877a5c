"""Read what a task declares of its documents: clusters, strata and tags.

    metadata:
      evalrun:
        cluster: passage_id        # documents with one value came together: they are not independent
        strata: [difficulty]       # a score for each value of each field
        tags: domain               # a score for each tag; a document may have a list of them

lm-eval keeps a task's metadata and uses none of it: the same YAML gives the same scores there. Nothing is a cluster
that is not declared: a subject or a category never is by itself, because "other questions in these subjects" is what a
score is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalrun_runner.errors import InputError, listed

KEYS = ("cluster", "strata", "tags")
OTHER_KEYS = ("retyped",)
"""Keys of ``metadata.evalrun`` that other modules read."""
MOST_STRATA = 100
"""Values of a field that have a score of their own; a field with more is no stratum but a name."""

FEW_STRATA = 10
"""Values of a field that have a score of their own even where most of them stand in one document alone."""


@dataclass(frozen=True, slots=True)
class DeclaredFields:
    """Fields of a task's documents that say how its items belong together."""

    cluster: str | None = None
    """Field whose value items of one cluster share; None: every item is independent."""
    strata: tuple[str, ...] = ()
    """Fields with one value each, a score for each value."""
    tags: str | None = None
    """Field with one value or a list of values, a score for each of them."""

    @property
    def names(self) -> tuple[str, ...]:
        """All fields, each once."""
        there = [*([self.cluster] if self.cluster else []), *self.strata, *([self.tags] if self.tags else [])]
        return tuple(dict.fromkeys(there))


def declared_fields(metadata: object) -> DeclaredFields:
    """Read ``metadata.evalrun`` of a task's configuration; a task without it declares nothing.

    Args:
        metadata: ``metadata`` of the configuration, as lm-eval has it.

    Raises:
        InputError: It holds an unknown key, or something else than names of fields.
    """
    own = metadata.get("evalrun") if isinstance(metadata, Mapping) else None
    if own is None:
        return DeclaredFields()
    if not isinstance(own, Mapping):
        raise InputError(f"metadata.evalrun: expected keys such as {', '.join(KEYS)}, got {own!r:.40}")
    for key in own:
        if key not in KEYS + OTHER_KEYS:
            near = difflib.get_close_matches(str(key), KEYS + OTHER_KEYS, n=1)
            meant = f"did you mean {near[0]}?" if near else f"its keys: {', '.join(KEYS + OTHER_KEYS)}"
            raise InputError(f"metadata.evalrun.{key}: there is no such key; {meant}")
    strata = own.get("strata")
    names = [strata] if isinstance(strata, str) else [] if strata is None else strata
    if not isinstance(names, Sequence):
        raise InputError(f"metadata.evalrun.strata: expected a list of fields, got {strata!r:.40}")
    return DeclaredFields(
        cluster=_field("cluster", own.get("cluster")),
        strata=tuple(dict.fromkeys(_named("strata", name) for name in names)),
        tags=_field("tags", own.get("tags")),
    )


def check_fields(declared: DeclaredFields, there: Collection[str]) -> None:
    """Check that the documents have the fields.

    Args:
        declared: The fields.
        there: Fields of the first document.

    Raises:
        InputError: A document has no such field; the message names what it has.
    """
    for name in declared.names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"metadata.evalrun: the documents have no field {name!r}; {hint}they have {listed(sorted(there), 20)}"
            )


def label_of(value: object) -> str | None:
    """Return the value of a cluster or stratum as a text; None where a document has none."""
    if value is None or value == "":
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def labels_of(value: object) -> tuple[str, ...]:
    """Return the tags in a field of a document: one value or a list of them, each once."""
    several: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(label for one in several if (label := label_of(one)) is not None))


def _field(key: str, value: object) -> str | None:
    return None if value is None else _named(key, value)


def _named(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"metadata.evalrun.{key}: expected the name of a field of the documents, got {value!r:.40}")
    return value
