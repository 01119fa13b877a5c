"""Aggregation of metric values into results, in lm-eval's layout and by its own code, one leaf task at a time.

``evaluator_utils`` is not public API: lm-eval is pinned, and the parity tests compare with ``simple_evaluate``.
"""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.evaluator_utils import EvalAcc, _collect_results, aggregate_groups
from lm_eval.utils import handle_non_serializable

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.bootstrap import quiet_bootstrap
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.errors import LedgerCorrupt, RunFailed
from evalrun_runner.records.results import ItemResult, ItemStatus

BOOTSTRAP_ITERATIONS = 100_000
"""Number of bootstrap resamples for a standard error; lm-eval's default."""

RawMetrics = dict[tuple[str, str], list[Any]]
"""Map from (metric, filter) to the metric's values in canonical order."""


def aggregate(
    loaded: LoadedBenchmarks,
    parts: Callable[[str], Iterator[ItemResult]],
    *,
    bootstrap_iters: int = BOOTSTRAP_ITERATIONS,
) -> dict[str, Any]:
    """Aggregate all parts into lm-eval's results: ``results``, ``groups``, ``configs``, ``versions``, ``n-shot``, ….

    Args:
        loaded: The run's leaf tasks and groups.
        parts: Returns a leaf task's results in canonical order.
        bootstrap_iters: Number of resamples for each bootstrapped standard error.

    Returns:
        Plain JSON. Metrics cover the ok items only, and ``n-samples`` gives their number; a task without any ok item
        has no metrics.

    Raises:
        LedgerCorrupt: An item is ok and has no scores.
        RunFailed: The aggregation of a metric cannot be determined.
    """
    total = EvalAcc()
    for leaf in loaded.leaves:
        raw = _collect(leaf, parts)
        _adopt_expanded_metrics(leaf, raw)
        accumulated = {leaf.name: {"task": leaf.task, "raw_metrics": raw, "logged_samples": []}}
        with quiet_bootstrap():
            _merge(total, _collect_results(accumulated, {}, bootstrap_iters))
    total.groups = dict(loaded.groups)
    results = aggregate_groups(total)._to_eval_results()
    plain: dict[str, Any] = json.loads(json.dumps(results, default=to_plain, ensure_ascii=True))
    return plain


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


def _collect(leaf: LeafTask, parts: Callable[[str], Iterator[ItemResult]]) -> RawMetrics:
    by_filter: dict[str, RawMetrics] = {}
    for result in parts(leaf.name):
        if result.outcome.status is not ItemStatus.OK:
            continue
        if result.scores is None:
            raise LedgerCorrupt(f"task {leaf.name!r}, document {result.doc_id}: the item is ok and has no scores")
        for name, metrics in values.decode(result.scores).items():
            raw = by_filter.setdefault(name, defaultdict(list))
            for metric, value in metrics.items():
                raw[(metric, name)].append(value)
    # lm-eval processes all documents for one filter, then for the next: keep that order of the metrics.
    return {key: collected for raw in by_filter.values() for key, collected in raw.items()}


def _adopt_expanded_metrics(leaf: LeafTask, raw: RawMetrics) -> None:
    """Assign metrics that a metric function returned under other names the aggregation of that function.

    lm-eval records them on the task object while it scores (``pass_at_k`` returns ``pass@1`` and ``pass@10``), but
    here a different task object does the scoring.

    Raises:
        RunFailed: Several metric functions with different aggregations could be the source.
    """
    aggregations = getattr(leaf.task, "_aggregation_list", None)
    higher_is_better = getattr(leaf.task, "_higher_is_better", None)
    if aggregations is None or higher_is_better is None or callable(leaf.task.get_config("process_results")):
        return
    seen = {metric for metric, _ in raw}
    expanded = seen - set(aggregations)
    sources = [metric for metric in aggregations if metric not in seen]
    choices = {(aggregations[source], higher_is_better.get(source)) for source in sources}
    if not expanded or not choices:
        return
    if len(choices) > 1:
        raise RunFailed(
            f"task {leaf.name!r}: the metrics {', '.join(sorted(expanded))} come from one of {', '.join(sources)}, and "
            "these are aggregated differently: which one cannot be told. Name them in a metric_list of their own"
        )
    aggregation, better = choices.pop()
    aggregations.update(dict.fromkeys(sorted(expanded), aggregation))
    higher_is_better.update(dict.fromkeys(sorted(expanded), better))


def _merge(total: EvalAcc, one: EvalAcc) -> None:
    for field in ("metrics", "configs", "versions", "num_fewshot", "higher_is_better", "n_samples"):
        getattr(total, field).update(getattr(one, field))


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
