"""lm-eval's log while tasks are made: what matters is said once with its tasks, what is only noise is not.

lm-eval warns of defaults that its own guides recommend, once for each task and each process, and so often that nobody
reads what matters.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from evalrun_api import RunWarning

_NOISE = re.compile(
    "|".join(
        (
            r"is defined, but (aggregation|higher_is_better) is not",  # the metric's own is used
            r"No `(until|generation_kwargs)` specified",  # the documented default is used
            r"num_fewshot > 0 but fewshot_split is None",  # the documented order of splits is used
            r"using test_docs as fewshot_docs",  # examples that hold the answer are counted by a check of their own
            r"Custom kwargs can be passed to `--metadata`",
            r"Label index was not in within range",  # found by a check of documents, with a reason
            r"No aggregation function defined for metric",
        )
    )
)
_TASK = re.compile(r"^\[Task: (?P<first>[^\]]+)\] |^\[(?P<second>[^\]\s]+)\] |^(?P<third>[^\s:]+): ")
_MOST_TASKS = 3


class LmEvalLog(logging.Handler):
    """Handler that keeps the warnings of lm-eval instead of printing them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._tasks: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        text = " ".join(record.getMessage().split())
        if _NOISE.search(text):
            return
        found = _TASK.match(text)
        task = next((name for name in found.groups() if name), "") if found else ""
        self._tasks.setdefault(text[found.end() :] if found else text, []).append(task)

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """The warnings, each once; those of several tasks name the first ones and how many there are."""
        return tuple(
            RunWarning(about=_about(tasks), message=f"lm-eval: {text}"[:1024]) for text, tasks in self._tasks.items()
        )


def _about(tasks: list[str]) -> str:
    names = list(dict.fromkeys(filter(None, tasks)))
    more = f" and {len(names) - _MOST_TASKS} more tasks" if len(names) > _MOST_TASKS else ""
    return (", ".join(names[:_MOST_TASKS]) or "benchmarks")[: 256 - len(more)] + more


@contextmanager
def lm_eval_log() -> Iterator[LmEvalLog]:
    """Keep what lm-eval logs inside the block. Not thread-safe."""
    logger, handler = logging.getLogger("lm_eval"), LmEvalLog()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
