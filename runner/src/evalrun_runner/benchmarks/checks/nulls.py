"""Fields without a value that a template prints, proved by rendering.

A template prints a null as ``None``, which the model then reads, or is compared with. Which nulls are printed cannot be
told from the template's text: a null may only be tested, or have a default. So the document is rendered again with a
mark in place of each null, and the nulls whose marks are in the text are printed. ``{{ a or "none" }}`` prints none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
import lm_eval.utils
from jinja2 import meta

from evalrun_runner.benchmarks.suites.sandbox import Sandbox

_FIRST_MARK = 0xF0000
"""First code point of Unicode's plane 15, which is for private use: no text has it, and no filter changes it."""
_MARKS = 0xFFFD


class TemplateFields:
    """Fields that a text template of lm-eval names, and those without a value that it prints."""

    def __init__(self, template: str) -> None:
        self._template = template
        environment = _Marking(lm_eval.utils.env.filters)
        try:
            self.names = frozenset(meta.find_undeclared_variables(environment.parse(template)))
            self._compiled: jinja2.Template | None = environment.from_string(template)
        except jinja2.TemplateError:
            # Who renders it for the task says what is wrong with it.
            self.names, self._compiled = frozenset(), None

    def printed_nulls(self, doc: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the paths of the document's nulls (and NaN) that the template prints, as ``choices[2]``."""
        if self._compiled is None or not any(name in doc and _has_null(doc[name]) for name in self.names):
            return ()
        paths: list[str] = []
        marked = {name: _mark(value, name, paths) if name in self.names else value for name, value in doc.items()}
        try:
            text = self._compiled.render(**marked)
        except Exception:  # noqa: BLE001  a template may raise anything; who renders it for the task says so
            return ()
        return tuple(path for number, path in enumerate(paths) if chr(_FIRST_MARK + number) in text)

    def printed_blanks(self, doc: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the fields with an empty or blank text that the template prints as it prints a text."""
        blanks = [name for name in sorted(self.names) if isinstance(doc.get(name), str) and not doc[name].strip()]
        if self._compiled is None or not blanks:
            return ()
        mark = _Blank(chr(_FIRST_MARK))
        try:
            text = self._compiled.render(**doc)
            marked = [self._compiled.render(**{**doc, name: mark}) for name in blanks]
        except Exception:  # noqa: BLE001  as above
            return ()
        # A template that leaves something out where the field is empty knows of it.
        found = zip(blanks, marked, strict=True)
        return tuple(name for name, one in found if mark in one and _same(one.replace(mark, doc[name]), text))


def _same(text: str, other: str) -> bool:
    return text.split() == other.split()


class _Blank(str):
    """Mark of a blank text, which passes for an empty one where a template decides by it."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return other == ""

    def __hash__(self) -> int:
        return hash("")


class _Null:
    """Null that leaves a mark where it is printed, and is a null otherwise."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return self._text

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, _Null)

    def __hash__(self) -> int:
        return hash(None)


class _NotANumber(float):
    """NaN that leaves a mark where it is printed."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> _NotANumber:
        number = super().__new__(cls, "nan")
        number._text = text
        return number

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return self._text


class _Marking(Sandbox):
    """The sandbox, in which a marked null passes for a null."""

    def __init__(self, filters: dict[str, Any]) -> None:
        super().__init__(filters)
        self.tests["none"] = lambda value: value is None or isinstance(value, _Null)
        # A null inside JSON is JSON.
        self.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _plain}


def _plain(value: object) -> None:
    if not isinstance(value, _Null):
        raise TypeError(f"{type(value).__name__} is not JSON")


def _has_null(value: object) -> bool:
    match value:
        case None:
            return True
        case float():
            return value != value  # noqa: PLR0124  NaN
        case list() | tuple():
            return any(map(_has_null, value))
        case dict():
            return any(map(_has_null, value.values()))
    return False


def _mark(value: Any, path: str, paths: list[str]) -> Any:
    """Copy a value with a mark in place of each null, and add the nulls' paths in the order of their marks."""
    match value:
        case None if len(paths) < _MARKS:
            return _Null(_next(path, paths))
        case float() if value != value and len(paths) < _MARKS:  # noqa: PLR0124  NaN
            return _NotANumber(_next(path, paths))
        case list() | tuple():
            return type(value)([_mark(entry, f"{path}[{number}]", paths) for number, entry in enumerate(value)])
        case dict():
            return {key: _mark(entry, f"{path}.{key}", paths) for key, entry in value.items()}
    return value


def _next(path: str, paths: list[str]) -> str:
    paths.append(path)
    return chr(_FIRST_MARK + len(paths) - 1)
