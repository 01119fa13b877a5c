"""Options of filters and metrics that no answer could be scored with: unknown names, and patterns that are no regex."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.api.registry import filter_registry, metric_registry
from lm_eval.api.task import ConfigurableTask, Task

from evalrun_runner.benchmarks.checks.objections import Objection, is_own
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks

COMPUTED: Mapping[str, frozenset[str]] = {
    "loglikelihood": frozenset({"perplexity", "acc"}),
    "loglikelihood_rolling": frozenset({"word_perplexity", "byte_perplexity", "bits_per_byte"}),
    "multiple_choice": frozenset(
        {
            *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"),
            *("f1", "mcc", "brier_score", "likelihood"),
        }
    ),
}
"""Metrics that lm-eval computes for the output types without generated text; it leaves all others out silently.

Source: ``ConfigurableTask.process_results`` (lm_eval/api/task.py).
"""
_OPTIONS_OF = {"exact_match": exact_match_hf_evaluate}
"""Functions that take a metric's options, where the metric itself only hands them on."""
_OF_TEXT = frozenset(
    {
        *("regex", "regex_pos", "multi_choice_regex", "remove_whitespace"),
        *("lowercase", "uppercase", "map", "format_span"),
    }
)
"""Filters of lm-eval that read text."""
_NO_OPTIONS = frozenset({"self", "predictions", "references", "resps", "docs"})


def check_options(loaded: LoadedBenchmarks) -> Iterator[Objection]:
    """Find filters that cannot be made, and metrics that cannot be called or are not computed at all."""
    for leaf in loaded.leaves:
        yield from _filters(leaf)
        if has_metrics_of_its_own_code(leaf.task):
            continue
        yield from _metrics(leaf)


def has_metrics_of_its_own_code(task: Task) -> bool:
    """Return whether code of a task's own decides what its metrics are given."""
    return not isinstance(task, ConfigurableTask) or callable(task.get_config("process_results"))


def step_name(step: Any) -> str:
    """Return the name of a filter's step, as ``filter_list`` has it."""
    function = getattr(step, "func", step)
    for name in filter_registry.keys():  # noqa: SIM118  # no dict
        if filter_registry.get(name) is function:
            return str(name)
    return str(getattr(function, "__name__", type(function).__name__))


def _filters(leaf: LeafTask) -> Iterator[Objection]:
    for ensemble in leaf.task._filters:
        for place, step in enumerate(ensemble.filters):
            where = f"filter_list: {ensemble.name!r}, step {place + 1} ({step_name(step)})"
            options = dict(getattr(step, "keywords", {}))
            known = _known_options(getattr(step, "func", step))
            wrong = [
                *_unknown(options, known),
                *_no_regex(options),
                *(_no_number(options) if _is_registered(step) else ()),
            ]
            for what, hint in wrong:
                yield Objection(leaf.name, f"{where}: {what}", hint)
            if not wrong and (why := _why_not_made(step)):
                yield Objection(leaf.name, f"{where} cannot be made: {why}")
        yield from _after_the_first(leaf, ensemble)
        yield from _nothing_to_read(leaf, ensemble)


def _after_the_first(leaf: LeafTask, ensemble: Any) -> Iterator[Objection]:
    """Find a filter of lm-eval's own after ``take_first``, of whose one text it takes each letter for an answer."""
    names = [step_name(step) for step in ensemble.filters]
    if "take_first" not in names[:-1]:
        return
    place = names.index("take_first") + 1
    if _is_registered(ensemble.filters[place]):
        where = f"filter_list: {ensemble.name!r}, step {place + 1} ({names[place]})"
        what = f"{where} stands after take_first, which leaves one text: its letters would be taken for answers"
        # A second take_first leaves one text again, which is right where all answers have one letter.
        refused = not is_own(leaf) and "take_first" not in names[place:]
        yield Objection(leaf.name, what, "take_first comes last", refused)


def _nothing_to_read(leaf: LeafTask, ensemble: Any) -> Iterator[Objection]:
    """Find filters of text where the engine writes none, and a map that maps nothing."""
    kind = str(leaf.task.OUTPUT_TYPE)
    for place, step in enumerate(ensemble.filters):
        name = step_name(step)
        if is_own(leaf) or not _is_registered(step) or name not in _OF_TEXT:
            continue
        where = f"filter_list: {ensemble.name!r}, step {place + 1} ({name})"
        if kind != "generate_until":
            what = f"{where} reads text, and answers of output_type {kind} are log-likelihoods"
            yield Objection(leaf.name, what, "leave filter_list out, or use output_type: generate_until")
        elif name == "map" and not getattr(step, "keywords", {}).get("mapping_dict"):
            what = f"{where} has no mapping_dict: every answer would become its default_value"
            yield Objection(leaf.name, what, "mapping_dict: {answer: what it stands for}")


def _is_registered(step: Any) -> bool:
    name = step_name(step)
    return name != "custom" and filter_registry.get(name, None) is getattr(step, "func", step)


def _why_not_made(step: Callable[[], object]) -> str:
    try:
        step()
    except Exception as error:  # noqa: BLE001  a filter may be anyone's code
        return f"{type(error).__name__}: {error}"
    return ""


def _metrics(leaf: LeafTask) -> Iterator[Objection]:
    task, kind = leaf.task, str(leaf.task.OUTPUT_TYPE)
    computed = COMPUTED.get(kind)
    for metric, function in task._metric_fn_list.items():
        if computed is not None and metric in metric_registry and metric not in computed:
            yield Objection(
                leaf.name,
                f"metric_list: {metric} is not computed for output_type {kind}",
                f"expected one of {', '.join(sorted(computed))}",
                refused=not is_own(leaf),
            )
        if computed is not None or metric_registry.get(metric, None) is not function:
            continue
        options = task._metric_fn_kwargs.get(metric) or {}
        for what, hint in [*_unknown(options, _known_options(_OPTIONS_OF.get(metric))), *_no_regex(options)]:
            yield Objection(leaf.name, f"metric_list: {metric}: {what}", hint)


def _known_options(function: Callable[..., Any] | None) -> Collection[str] | None:
    """Return the names of a function's options, None if it takes any."""
    if function is None:
        return None
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return [name for name in parameters if name not in _NO_OPTIONS]


def _unknown(options: Mapping[str, Any], known: Collection[str] | None) -> Iterator[tuple[str, str]]:
    for name in [] if known is None else sorted(set(options) - set(known)):
        near = difflib.get_close_matches(name, known or (), n=1)
        yield (
            f"it has no option {name!r}",
            f"did you mean {near[0]}?" if near else f"its options are {', '.join(known or ()) or 'none'}",
        )


def _no_regex(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("regex_pattern", "regexes_to_ignore"):
        patterns = options.get(name) or []
        for pattern in patterns if isinstance(patterns, list | tuple) else [patterns]:
            if not isinstance(pattern, str | re.Pattern):
                yield f"{name} is {pattern!r:.60}; expected text", f"quotes make text of it: {name}: '{pattern!s:.60}'"
                continue
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                yield f"{name} is {pattern!r}, which is no regular expression: {error}", ""


def _no_number(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find options that are only used where a pattern matches, and are no whole numbers."""
    for name in ("group_select", "k"):
        value = options.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int):
            yield f"{name} is {value!r:.60}; expected a whole number", ""
