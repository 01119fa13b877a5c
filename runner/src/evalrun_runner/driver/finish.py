"""The end of a run: read and verify every part once, then make scores and samples of its rows in canonical order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from evalrun_api import RunConfig, RunWarning
from evalrun_api.wire.outputs import Results, ScoredBy, StopRecord
from evalrun_runner.benchmarks.aggregate import Aggregated, aggregate
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.benchmarks.samples import sample_file
from evalrun_runner.driver.accounts import item_account, run_account
from evalrun_runner.driver.look_levels import adjusted
from evalrun_runner.driver.preflight import AnsweredBy
from evalrun_runner.driver.spool import RowSpool
from evalrun_runner.errors import EvalRunError, LedgerCorrupt, ObjectMissing, RunFailed, first_line
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records.plan import Chunk, Item
from evalrun_runner.records.results import ItemCounts, ItemResult
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.read_ahead import in_order

READERS, READ_AHEAD = 16, 64
MOST_EXAMPLES = 3
MOST_ABOUT, MOST_MESSAGE = 256, 1024
"""Characters of a warning."""

PlanOf = Mapping[str, tuple[Chunk, ...]]
"""Leaf task -> its chunks in canonical order."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading every part showed."""

    counts: Mapping[str, ItemCounts]
    """How the items of each leaf task ended, of its sound parts."""
    damaged: tuple[Chunk, ...]
    """Chunks whose part is missing or fails its checks."""
    examples: tuple[str, ...]
    """A few of the items without a score, with their errors, for people."""


def verify(plan: PlanOf, ledger: Ledger, spool: RowSpool) -> Verified:
    """Read every part that is not in the spool yet, and add the sound ones to it.

    A part that is sound holds one end for each of its chunk's items: its decoding checks that.

    Args:
        plan: Every chunk of the run.
        ledger: Where the parts are.
        spool: Takes the rows. After damaged parts were redone, the same one is to be given again.

    Raises:
        RunFailed: Nothing is damaged, and still not every planned item has exactly one end.
        OtherFormat: A part was written by a newer EvalRun.
    """
    counts: dict[str, ItemCounts] = {}
    damaged: list[Chunk] = []
    examples: list[str] = []
    for task, chunks in plan.items():
        unread = [chunk for chunk in chunks if spool.counts(chunk) is None]
        parts = in_order(unread, lambda chunk: _read(chunk, ledger, spool), readers=READERS, ahead=READ_AHEAD)
        for chunk, found in zip(unread, parts, strict=True):
            if found is None:
                damaged.append(chunk)
                continue
            spool.add(chunk, found.counts, found.packed)
            examples.extend(found.examples[: MOST_EXAMPLES - len(examples)])
        counts[task] = sum((count for chunk in chunks if (count := spool.counts(chunk)) is not None), ItemCounts())
    if not damaged:
        _check_account(plan, counts)
    return Verified(counts, tuple(damaged), tuple(examples))


@dataclass(frozen=True, slots=True)
class _Sound:
    counts: ItemCounts
    examples: tuple[str, ...]
    packed: bytes


def _read(chunk: Chunk, ledger: Ledger, spool: RowSpool) -> _Sound | None:
    try:
        part = ledger.read_part(chunk)
    except (LedgerCorrupt, ObjectMissing):
        return None
    bad = [row for row in part.rows if row.outcome.error is not None][:MOST_EXAMPLES]
    lines = (f"{chunk.task} document {row.doc_id}: {row.outcome.status}: {row.outcome.error}" for row in bad)
    return _Sound(part.counts, tuple(lines), spool.pack(part))


def _check_account(plan: PlanOf, counts: Mapping[str, ItemCounts]) -> None:
    for task, chunks in plan.items():
        planned, total = sum(chunk.items for chunk in chunks), counts[task]
        if total.total != planned:
            raise RunFailed(
                f"task {task}: {planned} items were planned, but {total.ok} ok + {total.failed} failed + "
                f"{total.quarantined} quarantined are {total.total}; nothing was scored. This is a defect: please "
                "report it with the run's manifest and parts"
            )


@dataclass(frozen=True, slots=True)
class VerifiedRun:
    """All parts of a run, read and found sound."""

    benchmarks: LoadedBenchmarks
    plan: PlanOf
    """Every chunk."""
    spool: RowSpool
    """Rows of all of them."""
    counts: Mapping[str, ItemCounts]
    """How the items of each leaf task ended."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Items of each leaf task that are not evaluated; tasks without any may be missing."""
    stop: StopRecord | None = None
    """Why the run stopped early; None: it is made of the whole plan."""
    drawn: bool = False
    """Whether the chunks hold the items in a drawn order."""


def make_results(
    config: RunConfig, run: VerifiedRun, keys: Mapping[str, object], warnings: Sequence[RunWarning], made: AnsweredBy
) -> Results:
    """Make the results of plan and parts alone, so that any driver makes the same.

    Args:
        config: The run.
        run: Its parts.
        keys: lm-eval's keys that say how the run was made.
        warnings: What the checks of the benchmarks warned of.
        made: What made the answers.
    """

    def rows(task: str) -> Iterator[ItemResult]:
        found = (row for chunk in run.plan[task] for row in run.spool.rows(chunk))
        # Sums depend on the order in their last digit: a drawn order must not show in the scores.
        return iter(sorted(found, key=attrgetter("doc_id"))) if run.drawn else found

    aggregated = aggregate(run.benchmarks, rows)
    results = aggregated.results
    results["configs"] = {
        leaf.name: without_folder(results["configs"][leaf.name], leaf.benchmark.source)
        for leaf in run.benchmarks.leaves
        if leaf.name in results["configs"]
    }
    total = sum(run.counts.values(), ItemCounts())
    evalrun = ScoredBy(
        engine=made.engine,
        numerics=made.numerics,
        counts=run_account(total, sum(run.skipped.values())),
        tasks={
            task: item_account(count, run.skipped.get(task, 0), aggregated.executions.get(task))
            for task, count in run.counts.items()
        },
        **({"stopped": run.stop.message} if run.stop is not None else {}),
        **({"unscored": list(aggregated.unscored)} if aggregated.unscored else {}),
        **(
            {"counted": {task: dict(fewer) for task, fewer in aggregated.counted.items()}} if aggregated.counted else {}
        ),
        intervals=adjusted(aggregated.intervals, run.stop),
        warnings=[*warnings, *_warnings_of(aggregated, warnings)],
    )
    return Results.model_validate({**results, **keys, "evalrun": evalrun}, by_alias=True, by_name=False)


def _warnings_of(aggregated: Aggregated, before: Sequence[RunWarning]) -> Iterator[RunWarning]:
    """Yield what is to be said of the scores, without what was already said before them."""
    # What a group lacks was known before it was known what its tasks have instead.
    said = {(warning.about, warning.message.partition(";")[0]) for warning in before}
    for about, message in aggregated.remarks:
        if (about, message.partition(";")[0]) not in said:
            yield RunWarning(about=about[:MOST_ABOUT], message=message[:MOST_MESSAGE])


def without_folder(config: object, folder: Path | None) -> object:
    """Make the paths in a task's configuration relative to its suite: where the suite lay says nothing of results."""
    if folder is None:
        return config
    match config:
        case str():
            return config.replace(f"{folder}/", "")
        case dict():
            return {key: without_folder(value, folder) for key, value in config.items()}
        case list():
            return [without_folder(value, folder) for value in config]
    return config


def write_samples(
    run: VerifiedRun, ledger: Ledger, store: ObjectStore, log: Callable[[str], None]
) -> Mapping[str, str]:
    """Write lm-eval's ``samples_<task>.jsonl`` of every leaf task.

    The samples of a task whose code raises are left out: scores do not depend on them.

    Args:
        run: The run's parts, with all of the rows.
        ledger: Where the planned items are; each segment is read once.
        store: Where the files go.
        log: Says which samples could not be made.

    Returns:
        lm-eval's hash of the samples of each leaf task.
    """
    hashes = {}
    for leaf in run.benchmarks.leaves:

        def pairs(chunks: Sequence[Chunk] = run.plan[leaf.name]) -> Iterator[tuple[Item, ItemResult]]:
            for number, together in groupby(chunks, key=lambda chunk: chunk.segment):
                segment = ledger.open_segment(chunks[0].task, number)
                for chunk in together:
                    yield from zip(segment.items(chunk), run.spool.rows(chunk), strict=True)

        try:
            samples = sample_file(leaf, pairs())
        except EvalRunError:
            raise
        except Exception as error:  # noqa: BLE001  a task's own code may raise anything
            log(f"warning: the samples of task {leaf.name} cannot be made: {type(error).__name__}: {first_line(error)}")
            continue
        store.put(layout.samples(leaf.name), samples.data)
        hashes[leaf.name] = samples.task_hash
    return hashes
