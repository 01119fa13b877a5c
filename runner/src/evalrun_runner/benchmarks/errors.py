"""One-sentence explanations of errors inside lm-eval and datasets, which may raise any exception."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import huggingface_hub.constants
import jinja2
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError, DatasetsError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from jinja2.exceptions import SecurityError

from evalrun_runner.errors import EvalRunError, InputError, first_line

_UNWRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}
)


@contextmanager
def making_task(task: str) -> Iterator[None]:
    """Convert any exception raised inside the block into an ``InputError`` that names the task."""
    try:
        yield
    except EvalRunError:
        raise
    except (Exception, SystemExit) as error:
        # One of lm-eval's own tasks exits the process when a program that it needs is not installed.
        raise InputError(f"task {task!r} cannot be loaded: {explain(error)}") from error


def explain(error: BaseException) -> str:
    """Explain an error in one sentence: what is wrong and, where known, what to do."""
    cause = error.__cause__ or error.__context__
    match error:
        case EvalRunError():
            return str(error)
        case SecurityError():
            return f"a template reaches for what the sandbox refuses: {first_line(error)}"
        case jinja2.TemplateSyntaxError():
            return f"a template has a syntax error: {first_line(error)}"
        case jinja2.UndefinedError():
            return f"a template names a field that the document does not have: {first_line(error)}"
        case DatasetGenerationError() if cause is not None:
            return f"its data cannot be read: {first_line(cause)}"
        case OSError() if (cache := _unwritable_cache(error)) is not None:
            return (
                f"the cache of data sets, {cache}, cannot be written: {error.strerror}; set HF_HOME to another folder"
            )
        case DatasetNotFoundError() | OfflineModeIsEnabled() | HfHubHTTPError() | ConnectionError():
            return (
                f"its data set cannot be reached: {first_line(error)}. Check the name, the access (HF_TOKEN) and the "
                "network, or fill the cache on a machine that has them (HF_HOME) and set HF_HUB_OFFLINE=1"
            )
        case IndexError() | StopIteration():
            return "its data set is empty: there is no document to evaluate"
        case FileNotFoundError() | DatasetsError():
            return f"its data is missing: {first_line(error)}"
        case ModuleNotFoundError() if error.name:
            return f"it needs the Python package {error.name!r}, which is not installed"
        case KeyError():
            return f"there is no field or split {first_line(error)}"
    return f"{type(error).__name__}: {first_line(error)}"


def _unwritable_cache(error: OSError) -> Path | None:
    """Return the folder of the data-set cache that an error is about; None if it is about something else."""
    if error.errno not in _UNWRITABLE or not isinstance(error.filename, str | os.PathLike):
        return None
    path = Path(error.filename)
    for cache in (Path(datasets.config.HF_DATASETS_CACHE), Path(huggingface_hub.constants.HF_HUB_CACHE)):
        # The error is about a file in it, or about a folder above it that is not there yet.
        if path.is_relative_to(cache) or cache.is_relative_to(path):
            return cache
    return None
