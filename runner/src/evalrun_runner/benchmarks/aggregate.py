"""Metric values to results, in lm-eval's own layout and by its own code, one leaf task at a time.

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
"""lm-eval's default."""

RawMetrics = dict[tuple[str, str], list[Any]]
"""(metric, filter) -> its values in canonical order."""


def aggregate(
    loaded: LoadedBenchmarks,
    parts: Callable[[str], Iterator[ItemResult]],
    *,
    bootstrap_iters: int = BOOTSTRAP_ITERATIONS,
) -> dict[str, Any]:
    """lm-eval's results: ``results``, ``groups``, ``group_subtasks``, ``configs``, ``versions``, ``n-shot``, ….

    ``parts`` gives a leaf task's results in canonical order. What is returned is plain JSON. Metrics are over the ok
    items alone, and ``n-samples`` says how many these are; a task without any has no metrics.
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
    """Metrics whose score is the plain mean of their items' values -> ``higher`` or ``lower``, whichever is better.

    A function that returns its values under other names than its own (``pass_at_k``) tells these only as it scores:
    they are not here.
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
    # lm-eval goes through all documents for one filter, then for the next: keep that order of the metrics.
    return {key: collected for raw in by_filter.values() for key, collected in raw.items()}


def _adopt_expanded_metrics(leaf: LeafTask, raw: RawMetrics) -> None:
    """Give the metrics that one metric function returned under other names the aggregation of that function.

    lm-eval notes them on the task object while it scores (``pass_at_k`` returning ``pass@1`` and ``pass@10``); here
    scoring happens on other task objects.
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
    """What ``json`` cannot write, as lm-eval writes it, but for two things that would differ at each run.

    A function inside ``fewshot_config`` is its source, like the functions beside it, and not its address in memory;
    a set is sorted.
    """
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if callable(value):
        try:
            return inspect.getsource(value)
        except (TypeError, OSError):
            return repr(getattr(value, "func", type(value)).__name__)
    return handle_non_serializable(value)
