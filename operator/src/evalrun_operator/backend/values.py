"""Tolerant reading of JSON: a value of an unexpected type counts as absent.

Objects come from the API server, but anybody can write labels, annotations and much of a status; none of that may stop
the operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def mapping(value: object, *path: str) -> Mapping[str, Any]:
    """Return the mapping at a path, else an empty one."""
    found = _at(value, path)
    return found if isinstance(found, dict) else {}


def mappings(value: object, *path: str) -> Sequence[Mapping[str, Any]]:
    """Return the mappings in the list at a path."""
    found = _at(value, path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list | tuple) else []


def texts(value: object, *path: str) -> Sequence[str]:
    """Return the strings in the list at a path."""
    found = _at(value, path)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list | tuple) else []


def text(value: object, *path: str) -> str:
    """Return the string at a path, else ''."""
    found = _at(value, path)
    return found if isinstance(found, str) else ""


def flag(value: object, *path: str) -> bool:
    """Tell whether the value at a path is true."""
    return _at(value, path) is True


def integer(value: object, *path: str) -> int | None:
    """Return the integer at a path, else None."""
    found = _at(value, path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def count(value: str) -> int | None:
    """Parse a count that is written as a label or an annotation, at most 2³¹ - 1."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 10 and int(value) < 2**31 else None


def moment(value: object, *path: str) -> datetime | None:
    """Return the time at a path, else None."""
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
        value = value.get(name) if isinstance(value, dict) else None
    return value
