"""Descriptions of fields: the docstrings under them, read from the source when they are asked for.

pydantic's own ``use_attribute_docstrings`` reads them as each class is made, which is a fifth of the time that the
contract's import takes; only messages and the CRD need them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel


def describe(root: type[BaseModel]) -> list[type[BaseModel]]:
    """Fill in the descriptions of a model's fields, and of all models in them.

    Returns:
        The models, those in a field before the one that has the field.
    """
    models = list(dict.fromkeys(_inner_first(root, set())))
    for model in models:
        for name, field in model.model_fields.items():
            if field.description is None:
                field.description = _docstring(model, name)
    return models


def _inner_first(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            yield from _inner_first(inner, seen)
    yield model


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _docstring(model: type[BaseModel], field: str) -> str | None:
    """Return the docstring of a field in the class that defines it."""
    for owner in model.__mro__:
        if field in inspect.get_annotations(owner):
            return _docstrings(owner.__module__).get(owner.__qualname__, {}).get(field)
    return None


@functools.cache
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings under annotated names, by class and name."""
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return {}
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {node.name: dict(_of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for assignment, text in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(assignment, ast.AnnAssign)
            and isinstance(assignment.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            yield assignment.target.id, inspect.cleandoc(text.value.value)
