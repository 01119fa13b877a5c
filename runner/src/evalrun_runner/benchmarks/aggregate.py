"""Aggregation of metric values into results, in lm-eval's layout and by its own code, one metric at a time.

``evaluator_utils`` is not public API: lm-eval is pinned, and the parity tests compare with ``simple_evaluate``.
"""

from __future__ import annotations

import inspect
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.evaluator_utils import EvalAcc, _collect_groups_bottom_up, _collect_results
from lm_eval.utils import handle_non_serializable

from evalrun_api.wire.outputs import IntervalRecord, UnscoredMetric, finite
from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.bootstrap import quiet_bootstrap
from evalrun_runner.benchmarks.declared import declared_fields
from evalrun_runner.benchmarks.group_scores import score_group
from evalrun_runner.benchmarks.intervals import Intervals, LeafValues
from evalrun_runner.benchmarks.item_labels import ItemLabels, item_labels
from evalrun_runner.benchmarks.lm_eval_log import lm_eval_log
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.benchmarks.task_scores import RawMetrics, TaskScores, score_task
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.execution.verdicts import ProgramEnd
from evalrun_runner.records.results import ItemResult, ItemStatus

BOOTSTRAP_ITERATIONS = 100_000
"""Number of bootstrap resamples for a standard error; lm-eval's default."""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What the parts of a run come to."""

    results: dict[str, Any]
    """lm-eval's results as plain JSON: ``results``, ``groups``, ``configs``, ``versions``, ``n-shot``, …."""
    unscored: tuple[UnscoredMetric, ...]
    """Metrics that have no value: null in the results."""
    counted: Mapping[str, Mapping[str, int]]
    """Number of documents of each score that is made of fewer than its task's others, by task and metric,filter."""
    executions: Mapping[str, Mapping[str, int]]
    """How the programs ended that a task's scores ran, by task and cause."""
    intervals: tuple[IntervalRecord, ...]
    """Interval of every score that has a value, and scores of strata."""
    remarks: tuple[tuple[str, str], ...]
    """What people should know of the scores: ``task <name>`` or ``group <name>``, and a sentence."""


def aggregate(
    loaded: LoadedBenchmarks,
    parts: Callable[[str], Iterator[ItemResult]],
    *,
    bootstrap_iters: int = BOOTSTRAP_ITERATIONS,
) -> Aggregated:
    """Aggregate all parts into lm-eval's results, metric by metric: one that cannot be computed costs only itself.

    Args:
        loaded: The run's leaf tasks and groups.
        parts: Returns a leaf task's results in canonical order.
        bootstrap_iters: Number of resamples for each bootstrapped standard error.

    Returns:
        Metrics cover the ok items only, and ``n-samples`` gives their number; a task without any ok item has no
        metrics.

    Raises:
        LedgerCorrupt: An item is ok and has no scores.
    """
    total = EvalAcc()
    total.groups = dict(loaded.groups)
    found: dict[str, TaskScores] = {}
    counted = {}
    executions: dict[str, Counter[str]] = {}
    intervals = Intervals()
    for leaf in loaded.leaves:
        declared = declared_fields(leaf.task.get_config("metadata"))
        ended: Counter[str] = Counter()
        values_of_leaf = _collect(leaf, _counting(parts(leaf.name), ended), with_documents=bool(declared.names))
        raw = values_of_leaf.raw
        # What lm-eval warns of is among the remarks, for the reader of the scores.
        with quiet_bootstrap(), lm_eval_log():
            scores = score_task(leaf.name, leaf.task, raw, bootstrap_iters, _adopt_expanded_metrics(leaf, raw))
        found[leaf.name] = scores
        if ended:
            executions[leaf.name] = ended
            scores.remarks.extend(_remarks_on(ended))
        labels = item_labels(declared, leaf.task.eval_docs) if declared.names else ItemLabels()
        scores.remarks.extend(labels.remarks)
        intervals.add_leaf(leaf, scores, values_of_leaf, labels)
        items = max(map(len, raw.values()), default=0)
        _add_leaf(total, leaf, scores.entry, items)
        if fewer := {f"{metric},{name}": len(some) for (metric, name), some in raw.items() if len(some) < items}:
            counted[leaf.name] = fewer
            scores.remarks.extend(f"{key} is made of {count:,} of {items:,} documents" for key, count in fewer.items())
    for group in _collect_groups_bottom_up(total.groups):
        with lm_eval_log():
            found[group.name] = score_group(group, total.metrics)
        intervals.add_group(group, found[group.name])
        total.metrics[group.name] = found[group.name].entry
        total.versions[group.name] = group.version
    plain = json.loads(json.dumps(total._to_eval_results(), default=to_plain, ensure_ascii=True))
    return Aggregated(
        results=finite(plain),
        unscored=tuple(one for scores in found.values() for one in scores.unscored),
        counted=counted,
        executions=executions,
        intervals=tuple(intervals.records),
        remarks=tuple(
            (f"{'group' if name in total.groups else 'task'} {name}", remark)
            for name, scores in found.items()
            for remark in scores.all_remarks
        ),
    )


def running_metrics(leaf: LeafTask) -> dict[str, str]:
    """Return the metrics whose score is the plain mean of the item values, each with its better direction.

    A metric function that returns its values under names other than its own (``pass_at_k``) reveals those names only
    while scoring, so they are missing here.

    Returns:
        Metric name to ``higher`` or ``lower``, whichever is better.
    """
    higher_is_better = leaf.task.higher_is_better()
    return {
        metric: "lower" if higher_is_better.get(metric) is False else "higher"
        for metric, aggregation in leaf.task.aggregation().items()
        if aggregation is mean
    }


def _counting(rows: Iterator[ItemResult], ended: Counter[str]) -> Iterator[ItemResult]:
    """Pass rows on, and count how the programs of ok items ended."""
    for row in rows:
        if row.executions is not None and row.outcome.status is ItemStatus.OK:
            ended.update(str(one["cause"]) for one in json.loads(row.executions))
        yield row


def _remarks_on(ended: Mapping[str, int]) -> Iterator[str]:
    """Yield what to say of programs that did not come to the end of their test by themselves."""
    odd = {
        ProgramEnd(cause): count
        for cause, count in ended.items()
        if cause not in (ProgramEnd.PASSED, ProgramEnd.RAISED)
    }
    if odd:
        listed = ", ".join(f"{count:,} {cause.value}" for cause, count in sorted(odd.items()))
        yield f"of {sum(ended.values()):,} programs {listed}; these count as not passed, as in lm-eval"


def _collect(leaf: LeafTask, rows: Iterator[ItemResult], *, with_documents: bool) -> LeafValues:
    by_filter: dict[str, dict[tuple[str, str], list[Any]]] = {}
    documents: dict[tuple[str, str], array[int]] = {}
    for result in rows:
        if result.outcome.status is not ItemStatus.OK:
            continue
        if result.scores is None:
            raise LedgerCorrupt(f"task {leaf.name!r}, document {result.doc_id}: the item is ok and has no scores")
        for name, metrics in values.decode(result.scores).items():
            raw = by_filter.setdefault(name, defaultdict(list))
            for metric, value in metrics.items():
                raw[(metric, name)].append(value)
                if with_documents:
                    documents.setdefault((metric, name), array("q")).append(result.doc_id)
    # lm-eval processes all documents for one filter, then for the next: keep that order of the metrics.
    return LeafValues({key: collected for raw in by_filter.values() for key, collected in raw.items()}, documents)


def _adopt_expanded_metrics(leaf: LeafTask, raw: RawMetrics) -> Mapping[str, str]:
    """Assign metrics that a metric function returned under other names the aggregation of that function.

    lm-eval records them on the task object while it scores (``pass_at_k`` returns ``pass@1`` and ``pass@10``), but
    here a different task object does the scoring.

    Returns:
        Metrics that several functions with different aggregations could be the source of, with the reason why they
        cannot be computed.
    """
    aggregations = getattr(leaf.task, "_aggregation_list", None)
    higher_is_better = getattr(leaf.task, "_higher_is_better", None)
    if aggregations is None or higher_is_better is None or callable(leaf.task.get_config("process_results")):
        return {}
    seen = {metric for metric, _ in raw}
    expanded = sorted(seen - set(aggregations))
    sources = [metric for metric in aggregations if metric not in seen]
    choices = {(aggregations[source], higher_is_better.get(source)) for source in sources}
    if len(choices) > 1:
        reason = (
            f"it comes from one of {', '.join(sources)}, and these are aggregated differently: which one cannot be "
            "told; name each in a metric_list of its own"
        )
        return dict.fromkeys(expanded, reason)
    for aggregation, better in choices:
        aggregations.update(dict.fromkeys(expanded, aggregation))
        higher_is_better.update(dict.fromkeys(expanded, better))
    return {}


def _add_leaf(total: EvalAcc, leaf: LeafTask, scores: Mapping[str, Any], items: int) -> None:
    """Add a leaf task with its scores to lm-eval's results, as lm-eval does it for a task with ``items`` documents."""
    nothing = {leaf.name: {"task": leaf.task, "raw_metrics": {}, "logged_samples": []}}
    one = _collect_results(nothing, {}, None)
    one.metrics[leaf.name].update({"sample_len": items, **scores})
    one.n_samples[leaf.name]["effective"] = items
    for name in ("metrics", "configs", "versions", "num_fewshot", "higher_is_better", "n_samples"):
        getattr(total, name).update(getattr(one, name))


def to_plain(value: object) -> object:
    """Convert what ``json`` cannot write as lm-eval does, except for two types that would differ between runs.

    A function inside ``fewshot_config`` becomes its source, like the functions beside it, instead of its address in
    memory; a set is sorted.
    """
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if callable(value):
        try:
            return inspect.getsource(value)
        except (TypeError, OSError):
            return repr(getattr(value, "func", type(value)).__name__)
    return handle_non_serializable(value)
