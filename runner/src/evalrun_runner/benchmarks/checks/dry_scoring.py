"""Dry scoring: made-up answers go through the filters, metrics and aggregations that real answers will go through.

What raises for every made-up answer will raise for every real one, and is found here before an engine is asked for.
What raises for only some of them may be right (a metric that reads a number need not read an empty text), and is
left to the run. lm-eval's own tasks are scored as lm-eval scores them: the reader of their scores is warned.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.metrics import f1_score, matthews_corrcoef, mean
from lm_eval.api.registry import aggregation_registry, metric_agg_registry
from lm_eval.api.task import Task

from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.checks.first_documents import FirstDocuments
from evalrun_runner.benchmarks.checks.gold import Gold, gold_of
from evalrun_runner.benchmarks.checks.guard import unexpected
from evalrun_runner.benchmarks.checks.made_up import RIGHT, made_up
from evalrun_runner.benchmarks.checks.objections import Objection, is_own
from evalrun_runner.benchmarks.checks.options import COMPUTED, has_metrics_of_its_own_code
from evalrun_runner.benchmarks.checks.time_limit import OutOfTime, time_limit
from evalrun_runner.benchmarks.checks.why_unscored import why_unfiltered, why_unscored
from evalrun_runner.benchmarks.code_eval import runs_code
from evalrun_runner.benchmarks.lm_eval_log import lm_eval_log
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.errors import EvalRunError, first_line
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome

SECONDS = 20.0
"""Maximum time for the dry scoring of one leaf task."""
CPU_SECONDS = 5.0
"""CPU time of a dry scoring that was cut off from which it counts as endless, not as held up by others."""
ALL_SECONDS = 60.0
"""Time after which the remaining leaf tasks are not tried out: metrics may load models of their own."""
_GENERATED = ("exact_match", "bleu", "chrf", "ter")
"""Metrics of generated text."""

_NOTHING = "its documents weigh nothing together: are all of its texts blank?"

Raw = dict[tuple[str, str], list[Any]]
"""Map from (metric, filter) to the values of some documents."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """Items of a leaf, with the results of the made-up answers to each."""

    leaf: LeafTask
    items: tuple[Item, ...]
    outcomes: tuple[tuple[Outcome, ...], ...]
    """By item, then by answer."""
    results: tuple[tuple[ItemResult, ...], ...]
    """The same, scored."""


def check_scoring(first: Sequence[FirstDocuments], may_fail: int) -> Iterator[Objection]:
    """Score made-up answers to the first documents of every leaf task.

    Args:
        first: The first documents.
        may_fail: Number of items that may fail without ending the run.

    Raises:
        InputError: A filter looks at several documents at once.
    """
    end = time.monotonic() + ALL_SECONDS
    for documents in first:
        task, began = documents.leaf.task, time.thread_time()
        # What the model writes is run in the scoring process alone, and so is what stands for it.
        if runs_code(task) or time.monotonic() > end:
            continue
        try:
            with time_limit(SECONDS), _quiet(task):
                found = list(_of_leaf(documents, may_fail))
        except OutOfTime:
            found = [_endless(documents.leaf)] if time.thread_time() - began > CPU_SECONDS else []
        except SystemExit:
            what = "its filters or metrics end the process that scores"
            found = [Objection(documents.leaf.name, what, refused=not is_own(documents.leaf))]
        except EvalRunError:
            raise
        except Exception as error:  # noqa: BLE001  filters and metrics may be anyone's code
            found = [unexpected("scoring", documents.leaf, error)]
        yield from found


def _endless(leaf: LeafTask) -> Objection:
    what = f"made-up answers to its first documents are not scored within {SECONDS:g} s"
    refused = not is_own(leaf) and not has_metrics_of_its_own_code(leaf.task)
    return Objection(leaf.name, what, "a pattern of a filter or metric that backtracks without end?", refused)


@contextmanager
def _quiet(task: Task) -> Iterator[None]:
    """Keep the warnings of metrics over made-up numbers from the log, and the task as it is."""
    names = ("_aggregation_list", "_higher_is_better")
    kept = {name: dict(getattr(task, name)) for name in names if hasattr(task, name)}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), lm_eval_log():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in kept.items():
            setattr(task, name, value)


def _of_leaf(documents: FirstDocuments, may_fail: int) -> Iterator[Objection]:
    tried = _try(documents)
    if not tried.items:
        return
    if tried.leaf.documents > may_fail:
        failed = [place for place, results in enumerate(tried.results) if not any(map(_is_ok, results))]
        if len(failed) > may_fail or len(failed) == len(tried.items):
            yield _never_scored(tried, failed[0])
            return
        yield from _right_answer_unfiltered(tried)
    # What is scored and has no value in the end is no failed item, however many of these there may be.
    raws = [_raw(tried, answer) for answer in range(len(tried.outcomes[0]))]
    yield from _unaggregated(tried.leaf, raws, complete=len(tried.items) >= tried.leaf.documents)


def _try(documents: FirstDocuments) -> _Tried:
    task = documents.leaf.task
    outcomes = tuple(made_up(item, _gold(task, item)) for item in documents.items)
    scorer = Scorer(documents.leaf.recipe, task)
    by_answer = [scorer.score(documents.items, answers) for answers in zip(*outcomes, strict=True)]
    return _Tried(documents.leaf, documents.items, outcomes, tuple(zip(*by_answer, strict=True)))


def _gold(task: Task, item: Item) -> Gold:
    try:
        return gold_of(task, item.doc)
    except Exception:  # noqa: BLE001  whatever is wrong with an answer is the business of other checks
        return Gold(())


def _is_ok(result: ItemResult) -> bool:
    return result.outcome.status is ItemStatus.OK


def _never_scored(tried: _Tried, place: int) -> Objection:
    leaf, item = tried.leaf, tried.items[place]
    reason = why_unscored(leaf.task, item, tried.outcomes[place][RIGHT])
    what = reason.what if reason else str(tried.results[place][RIGHT].outcome.error).partition(": ")[2]
    text = f"no answer to document {item.doc_id} can be scored, not even its own target: {what}"
    return Objection(leaf.name, text, reason.hint if reason else "", refused=not is_own(leaf))


def _right_answer_unfiltered(tried: _Tried) -> Iterator[Objection]:
    """Find a filter of lm-eval's own that raises for the right answer of every document that it finds something in."""
    reasons = [
        why_unfiltered(tried.leaf.task, item, outcomes[RIGHT])
        for item, outcomes, results in zip(tried.items, tried.outcomes, tried.results, strict=True)
        if not _is_ok(results[RIGHT])
    ]
    if len(reasons) == len(tried.items) and (reason := reasons[0]) is not None:
        document = tried.items[0].doc_id
        what = f"the target of document {document} itself, taken as an answer, cannot be scored: {reason.what}"
        yield Objection(tried.leaf.name, what, reason.hint, refused=not is_own(tried.leaf))


def _raw(tried: _Tried, answer: int) -> Raw:
    raw: Raw = defaultdict(list)
    for results in tried.results:
        scores: Mapping[str, Mapping[str, Any]] = values.decode(results[answer].scores or "{}")
        for name, metrics in scores.items():
            for metric, value in metrics.items():
                raw[metric, name].append(value)
    return dict(raw)


def _unaggregated(leaf: LeafTask, raws: Sequence[Raw], *, complete: bool) -> Iterator[Objection]:
    """Find metrics that no aggregation comes of, whatever the answers are.

    Args:
        leaf: The leaf task.
        raws: The values of each made-up answer.
        complete: Whether the values are those of all of the task's documents.
    """
    for metric, filter_name in dict.fromkeys(key for raw in raws for key in raw):
        function = (leaf.task.aggregation() or {}).get(metric, mean)
        if not callable(function):
            continue
        reasons = [_why_no_number(function, raw[metric, filter_name]) for raw in raws if raw.get((metric, filter_name))]
        if not all(reason is not None and (complete or _holds_for_more(function, reason)) for reason in reasons):
            continue
        filters = f" ({filter_name})" if len(leaf.task._filters) > 1 else ""
        what = f"metric_list: {metric}{filters} has no value for any answer: {_name(function)} {_sentence(reasons[0])}"
        yield Objection(leaf.name, what, _advice(leaf, metric, function, reasons[0]), refused=not is_own(leaf))


def _why_no_number(function: Callable[[list[Any]], Any], items: list[Any]) -> Exception | str | None:
    if function in (f1_score, matthews_corrcoef) and all(map(_is_pair, items)):
        # They import scikit-learn, which takes seconds; check_corpus_metrics has looked at the right answers.
        return None
    try:
        found = function(list(items))
    except Exception as error:  # noqa: BLE001  an aggregation may be anyone's code
        return error
    # An aggregation of a task's own may give several numbers by name.
    if isinstance(found, int | float | np.number | dict) or (isinstance(found, np.ndarray) and found.ndim == 0):
        return None
    return f"gives a {type(found).__name__}, not a number"


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, int | np.integer) for part in item)


def _holds_for_more(function: Callable[..., Any], reason: Exception | str | None) -> bool:
    """Return whether what is wrong over some documents is wrong over all of them.

    That is so where types and shapes do not fit lm-eval's own aggregations. Sums that are zero may become more.
    """
    own = any(aggregation_registry.get(name) is function for name in aggregation_registry.keys())  # noqa: SIM118
    return own and not isinstance(reason, ArithmeticError)


def _sentence(reason: Exception | str | None) -> str:
    return f"raises {type(reason).__name__}: {first_line(reason)}" if isinstance(reason, Exception) else str(reason)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(getattr(function, "func", function), "__name__", type(function).__name__))


def _advice(leaf: LeafTask, metric: str, function: Callable[..., Any], reason: Exception | str | None) -> str:
    kind = str(leaf.task.OUTPUT_TYPE)
    if isinstance(reason, ArithmeticError):
        return _NOTHING if isinstance(reason, ZeroDivisionError) else ""
    if has_metrics_of_its_own_code(leaf.task):
        return ""
    if kind == "generate_until" and metric not in _GENERATED:
        homes = [output_type for output_type, computed in COMPUTED.items() if metric in computed]
        if homes:
            return f"{metric} is for output_type {' or '.join(homes)}; generated text has {', '.join(_GENERATED)}"
    if metric_agg_registry.get(metric, None) is function:
        return "leave the metric out: lm-eval's own aggregation cannot take its values"
    return "leave the metric out, or give it the aggregation that lm-eval has for it by leaving `aggregation` out"
