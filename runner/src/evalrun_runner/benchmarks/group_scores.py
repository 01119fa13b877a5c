"""Scores of groups, metric by metric and by lm-eval's own code: a group is never scored over fewer tasks in silence."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.group import Group

from evalrun_runner.benchmarks.task_scores import NO_STDERR, TaskScores, add_odd_value
from evalrun_runner.errors import first_line, listed

Entries = Mapping[str, Mapping[str, Any]]
"""lm-eval's entry of each leaf task: ``metric,filter`` and other keys."""
_MOST_NAMES = 5


def score_group(group: Group, entries: Entries) -> TaskScores:
    """Aggregate a group's metrics over its leaf tasks, each metric on its own.

    Args:
        group: The group, with all its members.
        entries: Entries of all leaf tasks. A task without any scored item has no metrics in its entry.
    """
    scores = TaskScores(_heading(group, entries))
    counts: dict[str, int] = {}
    members = [task.task_name for task in group.get_all_tasks()]
    for metric, filter_name, alone in _single_metrics(group, entries):
        key = f"{metric},{filter_name}"
        without = [name for name in members if key in entries.get(name, {}) and not _usable(entries[name], key)]
        if without:
            reason = f"{listed(without, _MOST_NAMES)} {'has' if len(without) == 1 else 'have'} no such score"
            scores.add_unscored(group.name, metric, filter_name, reason)
            continue
        try:
            found = _aggregate(alone, entries, f"{metric}_stderr,{filter_name}", scores)
        except Exception as error:  # noqa: BLE001  numbers of any kind may stand in a task's scores
            reason = f"the mean over its tasks raised {type(error).__name__}: {first_line(error)}"
            scores.add_unscored(group.name, metric, filter_name, reason)
            continue
        counts |= found.pop("sample_count", {})
        scores.entry |= found
        if key in found:
            add_odd_value(scores, group.name, metric, filter_name)
            scores.remarks.extend(_partial(members, entries, key))
    if counts:
        scores.entry["sample_count"] = counts
    there = [key for name in members for key in metrics_of(entries.get(name, {}))]
    scores.remarks.extend(nobody_has(wanted, there) for wanted in wanted_by(group) if not is_among(wanted, there))
    return scores


def metrics_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the keys ``metric,filter`` of an entry."""
    return [key for key in entry if "," in key and "_stderr," not in key]


def wanted_by(group: Group) -> list[str]:
    """Return what a group aggregates: ``metric,filter``, or ``metric`` where it takes any filter."""
    return [
        config.metric if filter_name is None else f"{config.metric},{filter_name}"
        for config in group.aggregate_metric_list or []
        for filter_name in (config.filter_list if config.filter_list is not None else [None])
    ]


def is_among(wanted: str, there: Iterable[str]) -> bool:
    """Return whether a ``metric,filter`` or ``metric`` of a group is among the keys of its tasks."""
    return any(key == wanted or ("," not in wanted and key.partition(",")[0] == wanted) for key in there)


def nobody_has(wanted: str, there: Iterable[str]) -> str:
    """Say that none of a group's tasks has what the group aggregates."""
    keys = sorted(set(there))
    return f"none of its tasks has {wanted}; " + (
        f"they have {', '.join(keys)}" if keys else "they have no score at all"
    )


def _heading(group: Group, entries: Entries) -> dict[str, Any]:
    """Return what lm-eval's entry of a group holds before its scores."""
    bare = copy.copy(group)
    if group.aggregate_metric_list:
        bare.aggregate_metric_list = [replace(group.aggregate_metric_list[0], filter_list=[])]
    return dict(bare.aggregate(entries))


def _single_metrics(group: Group, entries: Entries) -> Iterator[tuple[str, str, Group]]:
    """Yield each (metric, filter) that a group aggregates, with a copy of the group that aggregates it alone."""
    for config in group.aggregate_metric_list or []:
        filters = config.filter_list
        if filters is None:
            filters = group._discover_filters_for_metric(config.metric, entries)
        for filter_name in filters:
            alone = copy.copy(group)
            alone.aggregate_metric_list = [replace(config, filter_list=[filter_name])]
            yield config.metric, filter_name, alone


def _aggregate(group: Group, entries: Entries, stderr_key: str, scores: TaskScores) -> dict[str, Any]:
    """Aggregate; if only the standard error cannot be computed, do without it."""
    try:
        return dict(group.aggregate(entries))
    except Exception as error:  # noqa: BLE001
        bare = {name: {key: one for key, one in entry.items() if key != stderr_key} for name, entry in entries.items()}
        found = dict(group.aggregate(bare))
        why = f"{type(error).__name__}: {first_line(error)}"
        metric_key = stderr_key.replace("_stderr,", ",")
        scores.remarks.append(f"{metric_key} has no standard error: computing it raised {why}")
        found[stderr_key] = NO_STDERR
        return found


def _usable(entry: Mapping[str, Any], key: str) -> bool:
    return entry[key] is not None


def _partial(members: Sequence[str], entries: Entries, key: str) -> Iterator[str]:
    """Say which tasks with other metrics are not in a group's score; tasks without any score are counted elsewhere."""
    left_out = [name for name in members if metrics_of(entries.get(name, {})) and key not in entries[name]]
    if left_out:
        yield (
            f"{key} is the score of {len(members) - len(left_out)} of its {len(members)} tasks: "
            f"{listed(left_out, _MOST_NAMES)} {'has' if len(left_out) == 1 else 'have'} no {key}"
        )
