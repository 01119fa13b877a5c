"""Scores that a run's tasks and groups can have, as far as it is known before anything is scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import lm_eval.api.metrics
from lm_eval.api.group import Group
from lm_eval.api.task import ConfigurableTask, Task

from evalrun_api import RunWarning
from evalrun_runner.benchmarks.group_scores import is_among, nobody_has, wanted_by
from evalrun_runner.benchmarks.load import LoadedBenchmarks


@dataclass(frozen=True, slots=True)
class PossibleScores:
    """Scores that a task or group can have."""

    keys: tuple[str, ...]
    """``metric,filter`` of each score that is known."""
    filters: tuple[str, ...]
    """Filters that any score of it can have."""
    others: bool = False
    """Whether it may have other metrics, too, which only scoring shows: code names them (``pass@10``)."""
    is_group: bool = False
    lacking: tuple[str, ...] = ()
    """Sentences on what a group aggregates that none of its tasks can have."""


def possible_scores(loaded: LoadedBenchmarks) -> dict[str, PossibleScores]:
    """Return what is known of the scores of every leaf task and group, by name."""
    leaves = {leaf.name: _of_task(leaf.task) for leaf in loaded.leaves}
    return leaves | {name: _of_group(group, leaves) for name, group in loaded.groups.items()}


def check_groups(possible: Mapping[str, PossibleScores]) -> Iterator[RunWarning]:
    """Warn of groups that aggregate a metric which none of their tasks can have."""
    for name, scores in possible.items():
        for sentence in scores.lacking:
            yield RunWarning(about=f"group {name}"[:256], message=sentence[:1024])


def _of_task(task: Task) -> PossibleScores:
    filters = tuple(dict.fromkeys(str(ensemble.name) for ensemble in task._filters))
    metrics = [str(metric) for metric in task.aggregation() or {}]
    return PossibleScores(
        keys=tuple(f"{metric},{name}" for metric in metrics for name in filters),
        filters=filters,
        others=_may_have_other_metrics(task),
    )


def _may_have_other_metrics(task: Task) -> bool:
    """Return whether code decides how a task's metrics are called.

    That is the code of a task's own class or ``process_results``, and that of a metric which is not lm-eval's own.
    """
    if not isinstance(task, ConfigurableTask) or type(task).process_results is not ConfigurableTask.process_results:
        return True
    if callable(task.get_config("process_results")):
        return True
    return task.OUTPUT_TYPE == "generate_until" and any(
        getattr(function, "__module__", None) != lm_eval.api.metrics.__name__
        for function in task._metric_fn_list.values()
    )


def _of_group(group: Group, leaves: Mapping[str, PossibleScores]) -> PossibleScores:
    members = [leaves[task.task_name] for task in group.get_all_tasks() if task.task_name in leaves]
    there = list(dict.fromkeys(key for member in members for key in member.keys))
    filters = tuple(dict.fromkeys(name for member in members for name in member.filters))
    others = any(member.others for member in members)
    keys: list[str] = []
    lacking: list[str] = []
    for wanted in wanted_by(group):
        keys += [key for key in there if is_among(wanted, [key])]
        if others:
            keys += [wanted] if "," in wanted else [f"{wanted},{name}" for name in filters]
        elif not is_among(wanted, there):
            lacking.append(nobody_has(wanted, there))
    return PossibleScores(tuple(dict.fromkeys(keys)), filters, is_group=True, lacking=tuple(lacking))
