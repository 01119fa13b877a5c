"""EvalRun files: read, override fields, parse."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from evalrun_api.base import KIND
from evalrun_api.reading.documents import load_documents, load_value
from evalrun_api.reading.parse import EvalRunFile, parse_documents
from evalrun_api.reading.problems import InvalidInput, Problem
from evalrun_runner.errors import InputError

HUB_NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
"""Name of a model on a hub, with its owner."""


def read_file(file: str) -> bytes:
    """Read a file, or stdin for ``-``. Raises ``InputError``."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}; expected the path of an EvalRun file") from error


def parse(file: str, settings: Sequence[str], output: str | None = None) -> EvalRunFile:
    """Read an EvalRun file with its overrides.

    Args:
        file: Path of the file; ``-`` for stdin.
        settings: Overrides, each as ``PATH=VALUE``; applied in order.
        output: Where the command writes, as a URI: stands in for an output that the file does not name.

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
            if output is not None and isinstance(spec := document.get("spec"), dict):
                spec.setdefault("output", {"uri": output})
    try:
        return parse_documents(documents, source)
    except InvalidInput as error:
        uris = [_model_uri(document) for document in documents if document.get("kind") == KIND]
        problems = [_with_hint(problem, uris[0], base_of(file)) if uris else problem for problem in error.problems]
        raise InvalidInput(error.source, problems) from error


def base_of(file: str) -> Path:
    """Return the folder that the paths in a file are relative to: its own, for stdin the working directory."""
    return Path.cwd() if file == "-" else Path(file).resolve().parent


def meant_model(uri: str, base: Path) -> str | None:
    """Return the question for the address that was probably meant for a model, None where nobody knows.

    Args:
        uri: What stands in the file: a path, a hub's name, or a file:// without an absolute path.
        base: Folder that a path is relative to.
    """
    scheme, separator, rest = uri.partition(":")
    if not separator:
        path = Path(uri).expanduser()
        if not uri.startswith((".", "~", "/")) and not (base / path).exists():
            return f"did you mean hf://{uri}?" if re.fullmatch(HUB_NAME, uri) else None
    elif scheme == "file":
        place = unquote(rest.lstrip("/"))
        one_slash = rest.startswith("/") and not rest.startswith("//")
        # file://home/me/m lacks a slash, file://m is meant to be relative.
        if one_slash or (Path("/", place).exists() and not (base / place).exists()):
            path = Path("/", place)
        else:
            path = Path(place).expanduser()
    else:
        return None
    return f"did you mean {(base / path).resolve().as_uri()}?"


def _model_uri(document: dict[str, Any]) -> object:
    spec = document.get("spec")
    model = spec.get("model") if isinstance(spec, dict) else None
    return model.get("uri") if isinstance(model, dict) else None


def _with_hint(problem: Problem, uri: object, base: Path) -> Problem:
    if problem.path != "spec.model.uri" or not isinstance(uri, str) or not (meant := meant_model(uri, base)):
        return problem
    return Problem(problem.path, f"{problem.message}; hint: {meant}")


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
