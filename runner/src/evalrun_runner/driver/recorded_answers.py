"""Checks of recorded answers against the documents that a run has, before anything is scored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from evalrun_api import EvalRunSpec
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.errors import InputError, listed
from evalrun_runner.recorded.file_answers import MOST_NAMED, FileAnswers
from evalrun_runner.recorded.run_answers import RunAnswers
from evalrun_runner.recorded.source import RecordedSource, open_answers


def check_answers(source: RecordedSource, spec: EvalRunSpec, benchmarks: LoadedBenchmarks) -> None:
    """Check that there are answers to score.

    Args:
        source: The recorded answers.
        spec: The run's spec.
        benchmarks: Its leaf tasks.

    Raises:
        InputError: A task has no recorded answers, a file's answers are to documents that there are not, or more items
            have none than may fail.
    """
    match open_answers(source):
        case RunAnswers() as run:
            names = frozenset(leaf.name for leaf in benchmarks.leaves)
            if missing := sorted(names - run.tasks(names)):
                raise InputError(
                    f"spec.engine.recorded: {source.uri} has no answers of {listed(missing, MOST_NAMED)}\n"
                    "hint: give the benchmarks that it evaluated, with other filters, metrics or right answers"
                )
        case FileAnswers() as file:
            _check_file(source.uri, file, spec, benchmarks)


def _check_file(uri: str, file: FileAnswers, spec: EvalRunSpec, benchmarks: LoadedBenchmarks) -> None:
    leaves = {leaf.name: leaf for leaf in benchmarks.leaves}
    if unknown := sorted(file.named_tasks - leaves.keys()):
        raise InputError(
            f"{uri}: there are answers of {listed(unknown, MOST_NAMED)}, and the run's tasks are "
            f"{listed(sorted(leaves), MOST_NAMED)}"
        )
    if file.has_unnamed and len(leaves) > 1:
        raise InputError(
            f"{uri}: the answers name no task, and the run has {len(leaves)}: {listed(sorted(leaves), MOST_NAMED)}; "
            "expected `task` in each line"
        )
    missing = {leaf.name: _missing(uri, file, leaf) for leaf in leaves.values()}
    total = sum(count for count, _ in missing.values())
    if total > spec.policy.max_failed_items:
        examples = [f"{task} {number}" for task, (_, numbers) in missing.items() for number in numbers]
        raise InputError(
            f"{uri}: {total:,} items have no answer: {listed(examples, MOST_NAMED)}; expected one for each document\n"
            f"hint: add them, or let so many items fail: --set spec.policy.maxFailedItems={total}"
        )


def _missing(uri: str, file: FileAnswers, leaf: LeafTask) -> tuple[int, list[int]]:
    """Return how many of a task's items have no answer, and the first of them."""
    ids, size = file.ids(leaf.name), len(leaf.task.eval_docs)
    if len(ids) and ids[-1] >= size:
        beyond = [str(one) for one in ids[ids >= size].tolist()]
        raise InputError(
            f"{uri}: {len(beyond):,} answers of task {leaf.name} are to documents that it has not: id "
            f"{listed(beyond, MOST_NAMED)}; it has {size:,}, numbered from 0"
        )
    answered = np.zeros(size, dtype=bool)
    answered[ids] = True
    missing = list(_unanswered(leaf, answered))
    return len(missing), list(islice(missing, MOST_NAMED))


def _unanswered(leaf: LeafTask, answered: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[int]:
    end = len(answered) if leaf.limit is None else min(leaf.limit, len(answered))
    return (number for number in np.flatnonzero(~answered[:end]).tolist() if leaf.evaluates(number))
