"""EvalRun files: read, override fields, parse."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from evalrun_api.reading.documents import load_documents
from evalrun_api.reading.parse import EvalRunFile, parse_file
from evalrun_runner.errors import InputError


def read_file(file: str) -> bytes:
    """The content of a file, or of stdin for ``-``. Raises ``InputError``."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; expected the path of an EvalRun file") from error


def parse(file: str, settings: Sequence[str]) -> EvalRunFile:
    """An EvalRun file with its overrides. Raises ``InputError`` and ``InvalidInput``."""
    text = read_file(file)
    source = "stdin" if file == "-" else file
    if not settings:
        return parse_file(text, source)
    documents = load_documents(text, source)
    for document in documents:
        if document.get("kind") == "EvalRun":
            for setting in settings:
                override(document, setting)
    return parse_file(yaml.safe_dump_all(documents, sort_keys=False), source)


def override(document: dict[str, Any], setting: str) -> None:
    """Set one field, ``spec.benchmarks.0.limit=20``; the value is read as YAML. Raises ``InputError``."""
    path, equals, text = setting.partition("=")
    keys = path.replace("[", ".").replace("]", "").split(".")
    if not equals or not all(keys):
        raise InputError(
            f"--set {setting}: expected PATH=VALUE, e.g. spec.replicas.count=1 or spec.benchmarks.0.limit=5"
        )
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise InputError(f"--set {setting}: the value is not YAML: {str(error).splitlines()[0]}") from error
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
