"""Modules of the user's that stand in for installed ones: a ``datasets.py`` in a folder of PYTHONPATH, for example.

Only asked after something failed: whoever puts a checkout of a library on PYTHONPATH on purpose is let be.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from traceback import walk_tb


def shadowing(error: BaseException) -> str | None:
    """Say which file stands in for an installed module, if an error comes of imports that failed; else None."""
    causes = list(_causes(error))
    if not any(isinstance(cause, ImportError | AttributeError | TypeError | SyntaxError) for cause in causes):
        return None
    folders = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    touched = {name for cause in causes for name in _touched(cause)}
    for folder in folders:
        for name in sorted(touched):
            if (file := _shadow(name, folder)) is not None:
                return (
                    f"the module {name} is taken from {file}, not from the installed package of that name; "
                    f"hint: rename it, or take {folder} out of PYTHONPATH"
                )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        cause = todo.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            todo += [cause.__cause__, cause.__context__]


def _touched(error: BaseException) -> set[str]:
    """Return the top-level names of modules that an error may be due to: those imported so far, and its own."""
    names = {name.partition(".")[0] for name in list(sys.modules)}
    if isinstance(error, ImportError) and error.name:
        names.add(error.name.partition(".")[0])
    # A module that fails while it is imported is in no list, but in the traceback.
    files = [Path(frame.f_code.co_filename) for frame, _ in walk_tb(error.__traceback__)]
    return names | {file.parent.name if file.stem == "__init__" else file.stem for file in files}


def _shadow(name: str, folder: str) -> str | None:
    """Return the file of a module in a folder, if an installed module has the same name."""
    own = PathFinder.find_spec(name, [folder])
    if own is None or own.origin is None:
        return None
    others = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    other = PathFinder.find_spec(name, others)
    return own.origin if other is not None and other.origin not in {None, own.origin} else None
