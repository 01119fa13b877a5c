"""Note the moment of the first request in a vLLM engine of any process that has this folder on its PYTHONPATH.

It works from outside, so that trees can be compared that know nothing of it. The moment goes to the file that
``EVALRUN_BENCH_FIRST_REQUEST`` names, once.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULE = "vllm.v1.engine.llm_engine"
FILE = os.environ.get("EVALRUN_BENCH_FIRST_REQUEST")


def mark(engine: Any, file: str) -> None:
    """Make an engine's class write the time of its first request."""
    add = engine.add_request

    def first(self: Any, *args: Any, **kwargs: Any) -> Any:
        engine.add_request = add
        with open(file, "x") as out:
            out.write(repr(time.time()))
        return add(self, *args, **kwargs)

    engine.add_request = first


class Finder(importlib.abc.MetaPathFinder):
    """Finder of one module, which it lets the usual ones load."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See ``MetaPathFinder``."""
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None and FILE is not None
        execute = spec.loader.exec_module

        def and_mark(module: ModuleType) -> None:
            execute(module)
            mark(module.LLMEngine, str(FILE))

        spec.loader.exec_module = and_mark  # type: ignore[method-assign]  # of this loader alone
        return spec


if FILE:
    sys.meta_path.insert(0, Finder())
