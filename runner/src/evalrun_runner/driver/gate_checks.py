"""Gates that no task or group of the run can answer, found before anything is asked of a model. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from evalrun_api import Benchmark, Gate, Reason
from evalrun_api.wire.outputs import Results
from evalrun_runner.benchmarks.possible_scores import PossibleScores
from evalrun_runner.driver.scores import UNFILTERED, filters_with, keys_of, meant_filter, meant_task
from evalrun_runner.errors import InputError, listed

_NEAR = 0.5
"""Similarity from which a name is offered: ``accuracy`` for ``acc`` has 0.55."""
_MOST_NAMES = 20


def check_gates(gates: Sequence[Gate], benchmarks: Sequence[Benchmark], possible: Mapping[str, PossibleScores]) -> None:
    """Refuse gates that cannot be judged, whatever a model answers. Metrics that only scoring shows are let through.

    Args:
        gates: The gates.
        benchmarks: The run's benchmarks.
        possible: What is known of the scores of every task and group.

    Raises:
        InputError: It names every such gate, and what there is instead.
    """
    problems = [
        f"spec.gates[{number}].{problem}"
        for number, gate in enumerate(gates)
        for problem in _problems(gate, benchmarks, possible)
    ]
    if problems:
        raise InputError("\n".join(problems), reason=Reason.INVALID_SPEC)


def scores_there(results: Results) -> dict[str, PossibleScores]:
    """Return the scores that a finished run has. Nothing is known of a task none of whose items has a score."""

    def scores(task: str) -> PossibleScores:
        keys = tuple(keys_of(results, task))
        filters = tuple(dict.fromkeys(key.partition(",")[2] for key in keys))
        is_group = bool(results.group_subtasks.get(task))
        return PossibleScores(keys, filters, others=not keys and not is_group, is_group=is_group)

    return {task: scores(task) for task in results.results}


def _problems(gate: Gate, benchmarks: Sequence[Benchmark], possible: Mapping[str, PossibleScores]) -> Iterator[str]:
    task = meant_task(gate.task, possible, benchmarks)
    named = [benchmark.task for benchmark in benchmarks if benchmark.resolved_name == gate.task]
    if task not in possible:
        yield (
            _no_task(gate.task, benchmarks, possible)
            if not named
            else (
                f"task: {gate.task!r} runs {named[0]!r}, which has no score of its own, only its tasks have; "
                f"{_there(possible)}"
            )
        )
    elif gate.task in possible and named and named[0] != gate.task:
        yield (
            f"task: {gate.task!r} is a task, and the name of the benchmark that runs {named[0]!r}; give that "
            "benchmark another name"
        )
    else:
        yield from _score_problems(gate, task, possible[task])


def _no_task(task: str, benchmarks: Sequence[Benchmark], possible: Mapping[str, PossibleScores]) -> str:
    names = [*possible, *(benchmark.resolved_name for benchmark in benchmarks)]
    return f"task: the run has no task, group or benchmark {task!r}; {_hint(task, names)}{_there(possible)}"


def _score_problems(gate: Gate, task: str, scores: PossibleScores) -> Iterator[str]:
    if scores.others and not scores.filters:
        return
    if scores.lacking and not filters_with(gate.metric, scores.keys):
        yield f"metric: group {task}: {'; '.join(scores.lacking)}"
        return
    if not scores.keys and not scores.others:
        kind = "group" if scores.is_group else "task"
        yield f"task: the {kind} {task!r} has no score of its own; gate on one of its tasks"
        return
    if gate.filter is not None and gate.filter not in scores.filters:
        yield (
            f"filter: {task!r} has no filter {gate.filter!r}; {_hint(gate.filter, scores.filters)}its filters: "
            f"{listed(scores.filters, _MOST_NAMES)}"
        )
        return
    filters = filters_with(gate.metric, scores.keys)
    if not filters and scores.others:
        # Which metrics it has is only known once it is scored; its filters are known.
        if gate.filter is None and UNFILTERED not in scores.filters and len(scores.filters) > 1:
            yield f"filter: needed, because {task!r} has several filters: {listed(scores.filters, _MOST_NAMES)}"
    elif not filters:
        metrics = list(dict.fromkeys(key.partition(",")[0] for key in scores.keys))
        yield (
            f"metric: {task!r} has no metric {gate.metric!r}; {_hint(gate.metric, metrics)}its scores: "
            f"{listed(scores.keys, _MOST_NAMES)}"
        )
    elif meant_filter(gate, scores.keys) is None:
        yield f"filter: needed, because {gate.metric!r} of {task!r} has several filters: {listed(filters, _MOST_NAMES)}"
    elif gate.filter is not None and gate.filter not in filters:
        yield (
            f"filter: {gate.metric!r} of {task!r} has no filter {gate.filter!r}; its filters: "
            f"{listed(filters, _MOST_NAMES)}"
        )


def _hint(word: str, names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    near = difflib.get_close_matches(word, known, n=3, cutoff=_NEAR)
    near += [name for name in known if name not in near and name.lower() == word.lower()]
    return f"did you mean {' or '.join(near)}? " if near else ""


def _there(possible: Mapping[str, PossibleScores]) -> str:
    named = [name for name, scores in possible.items() if scores.keys or scores.others]
    return f"there is: {listed(named, _MOST_NAMES)}"
