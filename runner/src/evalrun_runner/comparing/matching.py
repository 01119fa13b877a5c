"""Matching of runs: which tasks they share, whether they asked the same, and which items are the same.

Runs are paired by the finest key that both have. If it leaves items on both sides unpaired, documents are looked at:
if these are the same, the runs asked them in other words, and are refused unless differences are allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalrun_runner.comparing.facts import FactDifference, differences
from evalrun_runner.comparing.pairing import ItemPairing, pair, same_items
from evalrun_runner.comparing.scored import ItemScores, KeyArray, KeyKind, ScoredRun
from evalrun_runner.errors import InputError, listed

_MOST_SHOWN = 8
"""Differences in a message."""
_MOST_NAMED = 3
"""Items that are named of those that one side has alone."""
HINT = "hint: --allow-differences compares the documents that both have, and says what differs"


@dataclass(frozen=True, slots=True)
class LonelyItems:
    """Items that one of two runs has alone."""

    run: str
    """Label of the run that has them."""
    task: str
    count: int
    names: tuple[str, ...]
    """A few of them."""

    def __str__(self) -> str:
        more = "…" if self.count > len(self.names) else ""
        what = "item" if self.count == 1 else "items"
        return f"{self.task}: {self.count:,} {what} only in {self.run} ({', '.join(self.names)}{more}), left out"


@dataclass(frozen=True, slots=True)
class MatchedTask:
    """A leaf task of two runs with its common items."""

    task: str
    first: ItemScores
    second: ItemScores
    pairing: ItemPairing
    by: KeyKind
    lonely: tuple[LonelyItems, ...]


def check_agreement(runs: Sequence[ScoredRun], tasks: Sequence[str], *, allow: bool) -> tuple[FactDifference, ...]:
    """Compare what each run says of itself with the first run.

    Returns:
        The differences; none unless they are allowed.

    Raises:
        InputError: There are differences, and they are not allowed.
    """
    first, *others = runs
    found: list[FactDifference] = []
    for other in others:
        between = differences(first.facts, other.facts, tasks)
        if between and not allow:
            lines = "".join(f"\n  {one}" for one in between[:_MOST_SHOWN])
            more = f"\n  and {len(between) - _MOST_SHOWN} more" if len(between) > _MOST_SHOWN else ""
            raise InputError(
                f"{first.label} and {other.label} were not asked the same, so their scores do not compare:"
                f"{lines}{more}\n{HINT}"
            )
        found.extend(between)
    return tuple(dict.fromkeys(found))


def common_tasks(runs: Sequence[ScoredRun], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the leaf tasks that every run has, in the order of the first.

    Args:
        runs: The runs.
        wanted: Tasks or groups to keep; all by default.

    Raises:
        InputError: There are none.
    """
    shared = [task for task in runs[0].tasks if all(task in run.tasks for run in runs[1:])]
    if not shared:
        there = "; ".join(f"{run.label} has {listed(list(run.tasks), 5)}" for run in runs[:3])
        raise InputError(f"the runs have no task in common: {there}")
    if not wanted:
        return tuple(shared)
    members = {task for name in wanted for task in _members(name, runs)}
    kept = [task for task in shared if task in members]
    if not kept:
        raise InputError(f"--task {listed(list(wanted), 3)}: no such task in all runs; there are {listed(shared, 20)}")
    return tuple(kept)


def match(first: ScoredRun, second: ScoredRun, task: str, *, differ: bool, allow: bool) -> MatchedTask:
    """Pair the items of a task.

    Args:
        first: The baseline.
        second: The candidate.
        task: A leaf task that both have.
        differ: Whether their facts differ, so that the documents are paired from the start.
        allow: Whether differences are allowed.

    Raises:
        InputError: They have no item in common, or asked the same documents in other words.
    """
    ours, theirs = first.scores(task), second.scores(task)
    kinds = [kind for kind in first.key_kinds if kind in second.key_kinds]
    if not kinds:
        raise InputError(f"{task}: items of {first.place} and of {second.place} have no key in common to pair them by")
    by = kinds[-1] if differ else kinds[0]
    if ours.order is not None and ours.order == theirs.order:
        return MatchedTask(task, ours, theirs, same_items(ours.size), by, ())
    pairing = pair(first.keys(task, by), second.keys(task, by))
    if len(pairing.only_first) and len(pairing.only_second) and by is not kinds[-1]:
        coarser = pair(first.keys(task, kinds[-1]), second.keys(task, kinds[-1]))
        otherwise = len(coarser.first) - len(pairing.first)
        if otherwise > 0:
            if not allow:
                raise InputError(
                    f"{task}: {otherwise:,} of {len(coarser.first):,} documents were asked in other words by "
                    f"{first.label} than by {second.label}: their prompts or generation arguments differ\n{HINT}"
                )
            by, pairing = kinds[-1], coarser
    if not len(pairing.first):
        raise InputError(
            f"{task}: {first.label} ({ours.size:,} items) and {second.label} ({theirs.size:,}) have no item in common"
        )
    lonely = (*_lonely(first, task, pairing.only_first.tolist()), *_lonely(second, task, pairing.only_second.tolist()))
    return MatchedTask(task, ours, theirs, pairing, by, lonely)


def finest_common(runs: Sequence[ScoredRun], *, differ: bool) -> KeyKind:
    """Return the kind of keys by which many runs are paired.

    Raises:
        InputError: They have none in common.
    """
    kinds = [kind for kind in runs[0].key_kinds if all(kind in run.key_kinds for run in runs[1:])]
    if not kinds:
        raise InputError(f"items of {runs[0].place} and of the others have no key in common to pair them by")
    return kinds[-1] if differ else kinds[0]


def keys_of(runs: Sequence[ScoredRun], task: str, scores: Sequence[ItemScores], kind: KeyKind) -> list[KeyArray]:
    """Return the keys of a task's items in each run, read once for runs of the same items."""
    known: dict[str, KeyArray] = {}
    found = []
    for run, of_run in zip(runs, scores, strict=True):
        keys = known.get(of_run.order or "")
        if keys is None:
            keys = run.keys(task, kind)
            if of_run.order:
                known[of_run.order] = keys
        found.append(keys)
    return found


def _members(name: str, runs: Sequence[ScoredRun]) -> set[str]:
    """Return the leaf tasks of a group, or the task itself."""
    groups = {group: members for run in runs for group, members in run.facts.groups.items()}
    leaves: set[str] = set()
    waiting, seen = [name], set[str]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if one in groups:
            waiting.extend(groups[one])
        else:
            leaves.add(one)
    return leaves


def _lonely(run: ScoredRun, task: str, rows: list[int]) -> list[LonelyItems]:
    if not rows:
        return []
    return [LonelyItems(run.label, task, len(rows), tuple(run.names(task, rows[:_MOST_NAMED])))]


def nothing_in_common(labels: Sequence[str], metric: str | None) -> str:
    """Say that runs without a commonly scored item cannot be compared."""
    where = f" by {metric}" if metric is not None else ""
    return (
        f"{listed(labels, 3)} cannot be compared{where}: no item has a score in two of them; expected runs on the "
        "same items"
    )
