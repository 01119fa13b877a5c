"""Templates render in Jinja's sandbox: attributes such as ``__class__`` are refused, values cannot be changed."""

from __future__ import annotations

import lm_eval.utils
from jinja2 import BaseLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment


def confine_templates() -> None:
    """Make lm-eval render every template in the sandbox, in this process; idempotent.

    lm-eval renders all templates with one module-level environment, its own tasks' and a suite's alike. No template
    of lm-eval's own needs more than the sandbox gives, and so one environment serves all: nothing can be forgotten.
    """
    if isinstance(lm_eval.utils.env, ImmutableSandboxedEnvironment):
        return
    # The same settings and filters as lm_eval.utils makes its environment with.
    env = ImmutableSandboxedEnvironment(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
    env.filters.update(lm_eval.utils.env.filters)
    lm_eval.utils.env = env
