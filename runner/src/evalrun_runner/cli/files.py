"""EvalRun files: read, override fields, parse."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalrun_api.base import KIND
from evalrun_api.reading.documents import load_documents, load_value
from evalrun_api.reading.parse import EvalRunFile, parse_documents
from evalrun_runner.errors import InputError


def read_file(file: str) -> bytes:
    """Read a file, or stdin for ``-``. Raises ``InputError``."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; expected the path of an EvalRun file") from error


def parse(file: str, settings: Sequence[str]) -> EvalRunFile:
    """Read an EvalRun file with its overrides.

    Args:
        file: Path of the file; ``-`` for stdin.
        settings: Overrides, each as ``PATH=VALUE``; applied in order.

    Raises:
        InputError: The file cannot be read, or an override fits nothing.
        InvalidInput: The file, with its overrides, is no EvalRun.
    """
    source = "stdin" if file == "-" else file
    documents = load_documents(read_file(file), source)
    for document in documents:
        if document.get("kind") == KIND:
            for setting in settings:
                override(document, setting)
    return parse_documents(documents, source)


def override(document: dict[str, Any], setting: str) -> None:
    """Set one field, ``spec.benchmarks.0.limit=20``; the value is read as it is in a file. Raises ``InputError``."""
    path, equals, text = setting.partition("=")
    keys = path.replace("[", ".").replace("]", "").split(".")
    if not equals or not all(keys):
        raise InputError(
            f"--set {setting}: expected PATH=VALUE, e.g. spec.replicas.count=1 or spec.benchmarks.0.limit=5"
        )
    try:
        value = load_value(text)
    except ValueError as error:
        raise InputError(f"--set {setting}: the value is {error}") from error
    place: Any = document
    for key in keys[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else _element(place, key, setting)
    if isinstance(place, dict):
        place[keys[-1]] = value
    else:
        _element(place, keys[-1], setting)
        place[int(keys[-1])] = value


def _element(place: Any, key: str, setting: str) -> Any:
    if not isinstance(place, list):
        raise InputError(f"--set {setting}: {key!r} lies in a plain value, not in a mapping or list")
    if not key.isdecimal() or int(key) >= len(place):
        raise InputError(f"--set {setting}: {key!r} is no place in a list of {len(place)}, counted from 0")
    return place[int(key)]
