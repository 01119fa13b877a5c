"""Jinja's sandbox for templates: attributes such as ``__class__`` are refused, and values cannot be changed."""

from __future__ import annotations

import functools
from typing import Any

import lm_eval.utils
from jinja2 import BaseLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

_COMPILED = 512
"""Number of cached templates: a task has a handful, a run with many tasks a few hundred."""


class Sandbox(ImmutableSandboxedEnvironment):
    """lm-eval's template environment in the sandbox. lm-eval compiles a template at each use, this one only once."""

    def __init__(self, filters: dict[str, Any]) -> None:
        # These are the settings of the environment in lm_eval.utils.
        super().__init__(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
        self.filters.update(filters)
        self._compiled = functools.lru_cache(maxsize=_COMPILED)(super().from_string)

    def from_string(self, source: Any, globals: Any = None, template_class: Any = None) -> Template:
        """Return the template of this text, compiled at its first use."""
        if globals is None and template_class is None and isinstance(source, str):
            return self._compiled(source)
        return super().from_string(source, globals, template_class)


def confine_templates() -> None:
    """Make lm-eval render every template of this process in the sandbox; idempotent.

    lm-eval renders all templates with one module-level environment, those of its own tasks and of suites alike. None
    of lm-eval's own templates needs more than the sandbox allows, so one environment covers all templates.
    """
    if not isinstance(lm_eval.utils.env, Sandbox):
        lm_eval.utils.env = Sandbox(lm_eval.utils.env.filters)
