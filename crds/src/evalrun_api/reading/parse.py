"""The entry point of the contract: files and mappings become models, or InvalidInput lists everything that is wrong.

The API server checks the same with the CRD; the order here is: documents, kinds, fields, rules between fields.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from evalrun_api.base import API_VERSION, KIND, Model
from evalrun_api.reading.documents import load_documents
from evalrun_api.reading.explain import explain, field_of, model_in, path_of, shown
from evalrun_api.reading.problems import InvalidInput, Problem
from evalrun_api.run import EvalRun

STORAGE_LABEL = ("evalrun.dev/use", "storage")
"""Label that a Secret needs to be used by a run, and in a cluster a ConfigMap and a claim as well: the right to create
EvalRuns gives access to no other.
"""


@dataclass(frozen=True, slots=True)
class FileObject:
    """A ConfigMap or Secret from the EvalRun's own file."""

    name: str
    data: Mapping[str, bytes] = field(repr=False)
    labelled: bool = True
    """Whether it has the label that a cluster asks for."""


@dataclass(frozen=True, slots=True)
class EvalRunFile:
    """Content of an EvalRun file; ConfigMaps and Secrets by name."""

    evalrun: EvalRun
    config_maps: Mapping[str, FileObject]
    secrets: Mapping[str, FileObject]


def parse_file(text: str | bytes, source: str) -> EvalRunFile:
    """Read a file with exactly one EvalRun and the ConfigMaps and Secrets that it names.

    Args:
        text: Content of the file, YAML or JSON.
        source: Name of the file, for messages.

    Raises:
        InvalidInput: It lists everything that is wrong.
    """
    return parse_documents(load_documents(text, source), source)


def parse_documents(documents: Sequence[Mapping[str, Any]], source: str) -> EvalRunFile:
    """Make models of documents that were read already: exactly one EvalRun, and the objects that it names.

    Args:
        documents: Mappings, as ``load_documents`` returns them.
        source: Where they come from, for messages.

    Raises:
        InvalidInput: It lists everything that is wrong.
    """
    runs = [document for document in documents if _is_run(document)]
    objects: dict[str, dict[str, FileObject]] = {"ConfigMap": {}, "Secret": {}}
    problems: list[Problem] = []
    for document in documents:
        if _is_run(document):
            continue
        kind = document.get("kind")
        if kind not in objects or document.get("apiVersion") != "v1":
            # If the only document is not an EvalRun, the mistake is in that document, not in the file.
            problems.extend(_header_problems(document) if len(documents) == 1 else [_foreign(document)])
            continue
        try:
            found = _file_object(document, kind, source)
        except InvalidInput as error:
            problems.extend(error.problems)
            continue
        if found.name in objects[kind]:
            problems.append(Problem("", f"duplicate {kind} {found.name}"))
        objects[kind][found.name] = found
    if not runs and not problems:
        problems.append(Problem("", f"contains no EvalRun, expected one document with kind: {KIND}"))
    if len(runs) > 1:
        problems.append(Problem("", f"contains {len(runs)} EvalRuns, expected one; hint: put each into its own file"))
    if problems:
        raise InvalidInput(source, problems)
    return EvalRunFile(parse_evalrun(runs[0], source), objects["ConfigMap"], objects["Secret"])


def parse_evalrun(mapping: object, source: str) -> EvalRun:
    """Build an EvalRun from a mapping of YAML or of the API server. Raises InvalidInput."""
    if not isinstance(mapping, dict):
        raise InvalidInput(source, [Problem("", f"must be a mapping, not {shown(mapping)}")])
    problems = _header_problems(mapping)
    if problems:
        raise InvalidInput(source, problems)
    try:
        # JSON mode is strict about types like the API server, and still accepts lists, dates and enums as text.
        text = json.dumps(_without_nulls(mapping, EvalRun))
        evalrun = EvalRun.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidInput(source, explain(error, EvalRun)) from error
    except (TypeError, ValueError) as error:
        raise InvalidInput(source, [Problem("", f"contains a value that JSON does not know: {error}")]) from error
    if not (evalrun.metadata.name or evalrun.metadata.generate_name):
        raise InvalidInput(source, [Problem("metadata.name", "is missing (Name, unique in the namespace)")])
    return evalrun


def cluster_problems(evalrun: EvalRun) -> list[Problem]:
    """List what is valid on one machine and not allowed in a cluster."""
    return list(_cluster_problems(evalrun, []))


def unlabelled(file: EvalRunFile) -> list[Problem]:
    """List the ConfigMaps of a file that no run in a cluster may use."""
    return [
        Problem("metadata.labels", f"the ConfigMap {name} needs the label {': '.join(STORAGE_LABEL)} in a cluster")
        for name, found in file.config_maps.items()
        if not found.labelled
    ]


def _cluster_problems(value: object, location: list[int | str]) -> Iterator[Problem]:
    if isinstance(value, Model):
        for rule in value.rules:
            if rule.cluster_only and not rule.holds(value):
                yield Problem(path_of([*location, *([rule.field] if rule.field else [])]), rule.message)
        for name, info in type(value).model_fields.items():
            yield from _cluster_problems(getattr(value, name), [*location, info.alias or name])
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _cluster_problems(item, [*location, index])


def _is_run(document: Mapping[str, Any]) -> bool:
    return document.get("kind") == KIND and document.get("apiVersion") == API_VERSION


def _header_problems(document: Mapping[str, Any]) -> list[Problem]:
    """Check apiVersion and kind, on which the meaning of everything else depends."""
    problems = []
    for name, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        given = document.get(name)
        if given is None:
            problems.append(Problem(name, f"is missing, expected {expected}"))
        elif given != expected:
            problems.append(Problem(name, f"must be {expected}, not {shown(given)}"))
    return problems


def _foreign(document: Mapping[str, Any]) -> Problem:
    kind, version = document.get("kind"), document.get("apiVersion")
    return Problem(
        "kind",
        f"expected one EvalRun ({API_VERSION}) and the ConfigMaps and Secrets (v1) that it names, "
        f"not a {kind if isinstance(kind, str) else shown(kind)} ({version})",
    )


def _file_object(document: Mapping[str, Any], kind: str, source: str) -> FileObject:
    """Build a ConfigMap or Secret with its values as bytes."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidInput(source, [Problem("metadata.name", f"is missing in a {kind}")])
    labelled = _labels(document).get(STORAGE_LABEL[0]) == STORAGE_LABEL[1]
    if kind == "Secret" and not labelled:
        why = "without it no run may use the Secret"
        problem = Problem("metadata.labels", f"the Secret {name} needs the label {': '.join(STORAGE_LABEL)}; {why}")
        raise InvalidInput(source, [problem])
    plain, encoded = ("data", "binaryData") if kind == "ConfigMap" else ("stringData", "data")
    decoded = {
        key: _decode(value, f"{kind} {name}, {encoded}.{key}", source)
        for key, value in _texts(document, encoded, f"{kind} {name}", source)
    }
    texts = {key: value.encode() for key, value in _texts(document, plain, f"{kind} {name}", source)}
    return FileObject(name, decoded | texts, labelled)


def _labels(document: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = document["metadata"].get("labels")
    return labels if isinstance(labels, dict) else {}


def _texts(document: Mapping[str, Any], key: str, what: str, source: str) -> list[tuple[str, str]]:
    """Return the entries of a mapping from text to text; values are not shown, because they may be secret."""
    values = document.get(key) or {}
    if not isinstance(values, dict):
        raise InvalidInput(source, [Problem(key, f"of the {what} must be a mapping from text to text")])
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise InvalidInput(
            source, [Problem(f"{key}.{name}", f"of the {what} must be text: quote it") for name in wrong]
        )
    return list(values.items())


def _decode(value: str, what: str, source: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except binascii.Error as error:
        raise InvalidInput(
            source, [Problem("", f"{what}: must be base64; hint: put plain text into stringData or data")]
        ) from error


def _without_nulls(value: object, model: type[Model] | None) -> object:
    """Drop known fields that are null: the API server treats them as not set, too."""
    if isinstance(value, list):
        return [_without_nulls(item, model) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        info = field_of(model, key) if model else None
        if item is None and info is not None and model is not None and model.null_is_unset:
            continue
        kept[key] = _without_nulls(item, model_in(info.annotation) if info else None)
    return kept
