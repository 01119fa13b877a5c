"""Reading JSON of which nothing is certain: what has another shape than expected is as if it were not there.

Objects come from the API server, but labels, annotations and half of every status are anybody's; no word of them may
stop the operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def mapping(value: object, *path: str) -> Mapping[str, Any]:
    """The mapping at a path, else an empty one."""
    found = _at(value, path)
    return found if isinstance(found, Mapping) else {}


def mappings(value: object, *path: str) -> Sequence[Mapping[str, Any]]:
    """The mappings of the list at a path."""
    found = _at(value, path)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else []


def texts(value: object, *path: str) -> Sequence[str]:
    """The strings of the list at a path."""
    found = _at(value, path)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list | tuple) else []


def text(value: object, *path: str) -> str:
    """The string at a path, else ''."""
    found = _at(value, path)
    return found if isinstance(found, str) else ""


def flag(value: object, *path: str) -> bool:
    """Whether the value at a path is true."""
    return _at(value, path) is True


def integer(value: object, *path: str) -> int | None:
    """The integer at a path."""
    found = _at(value, path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def count(value: str) -> int | None:
    """A count that is written as a label or an annotation, at most 2³¹ - 1."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 10 and int(value) < 2**31 else None


def moment(value: object, *path: str) -> datetime | None:
    """The time at a path."""
    found = _at(value, path)
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError:
            return None
    if not isinstance(found, datetime):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _at(value: object, path: Sequence[str]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
