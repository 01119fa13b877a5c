"""Imports of transformers and vLLM without libraries that they import where those are installed, and nobody here uses.

Measured on 2 cores: the tokenizer of a model in 2.5 CPU seconds without torch instead of 19; vLLM without scikit-learn
and scipy, which lm-eval brings along, in four fifths of its time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TORCH = "torch"
STATISTICS = ("sklearn", "scipy")
"""Used by transformers for assisted decoding and for the losses of object detection."""
_NO_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


@contextmanager
def without(*libraries: str) -> Iterator[None]:
    """Let imports inside the block find none of these libraries, except those that are imported already.

    What is imported inside never uses them in this process. Afterwards they can be imported again.
    """
    hidden = [name for name in libraries if name not in sys.modules]
    advice = os.environ.get(_NO_ADVICE)
    os.environ[_NO_ADVICE] = "1"  # transformers would say that there is no torch
    # None is how the import system itself marks a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is allowed, typeshed says otherwise
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, sys) is None:
                del sys.modules[name]
        if advice is None:
            del os.environ[_NO_ADVICE]
        else:
            os.environ[_NO_ADVICE] = advice
