"""Settings of a suite's task that lm-eval would take and not mean: missing fields, wrong types, names that stand twice.

lm-eval makes a task of them all the same. It then fails without naming the field, or the second of two filters or
metrics of one name takes the place of the first, and a score is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalrun_runner.errors import InputError

_TEMPLATE = "expected a template, or the name of a column"
_CHOICES = "expected a list, a template of one, or the name of a column"


def check_settings(task: str, config: Mapping[str, Any], file: Path | None) -> None:
    """Check the whole configuration of a suite's task before lm-eval makes a task of it.

    Args:
        task: The task's name.
        config: Its configuration, includes and overrides of groups among it.
        file: The YAML file that defines it; None where there is none.

    Raises:
        InputError: A setting is missing, of the wrong type, or stands twice. The message has all of these.
    """
    found = list(_faults(config))
    if found:
        where = f"task {task!r}" + (f" ({file.name})" if file else "")
        raise InputError(f"{where}: " + "\n  ".join(found))


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    yield from _missing(config)
    for field, least in (("num_fewshot", 0), ("repeats", 1)):
        if field in config and not (field == "num_fewshot" and config[field] is None):
            yield from _not_whole(field, config[field], least)
    yield from _arguments(config.get("generation_kwargs"))
    yield from _metrics(config.get("metric_list"), own_code=callable(config.get("process_results")))
    yield from _filters(config.get("filter_list"))


def _missing(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("use_prompt") is not None:
        return
    for field in ("doc_to_text", "doc_to_target"):
        if config.get(field) is None:
            yield f"{field} is missing; {_TEMPLATE}"
    if config.get("output_type") == "multiple_choice" and config.get("doc_to_choice") is None:
        yield f"doc_to_choice is missing, which output_type multiple_choice needs; {_CHOICES}"


def _not_whole(field: str, value: object, least: int) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        yield f"{field} is {value!r:.60}; expected a whole number from {least}"


def _arguments(arguments: object) -> Iterator[str]:
    if arguments is None:
        return
    if not isinstance(arguments, Mapping):
        yield f"generation_kwargs is {arguments!r:.60}; expected a mapping, as in {{do_sample: false, until: [Q:]}}"
        return
    temperature = arguments.get("temperature", 0)
    # lm-eval makes a number of it while it makes the task.
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        yield f"generation_kwargs.temperature is {temperature!r:.60}; expected a number from 0"


def _metrics(metrics: object, *, own_code: bool) -> Iterator[str]:
    if metrics is None:
        return  # lm-eval takes the metrics of the output type.
    if not isinstance(metrics, Sequence) or isinstance(metrics, str):
        yield f"metric_list is {metrics!r:.60}; expected a list, as in [{{metric: exact_match}}]"
        return
    if not metrics and not own_code:
        yield "metric_list is empty: no score would come of it; leave it out for the metrics of the output type"
    entries = [entry for entry in metrics if isinstance(entry, Mapping)]
    for name in _twice(str(entry.get("metric")) for entry in entries if not callable(entry.get("metric"))):
        yield (
            f"metric_list: {name} stands twice, and lm-eval keeps the last alone; another reading of the same answers "
            "is a task of its own (include: this file)"
        )
    for entry in entries:
        metric, higher, ignored = entry.get("metric"), entry.get("higher_is_better"), entry.get("regexes_to_ignore")
        if higher is not None and not isinstance(higher, bool):
            yield f"metric_list: {metric}: higher_is_better is {higher!r:.60}; expected true or false"
        if isinstance(ignored, str):
            yield f"metric_list: {metric}: regexes_to_ignore is {ignored!r:.60}; expected a list: [{ignored!r:.60}]"


def _filters(filters: object) -> Iterator[str]:
    if filters is None:
        return  # lm-eval takes the first answer.
    if not isinstance(filters, Sequence) or isinstance(filters, str):
        yield f"filter_list is {filters!r:.60}; expected a list of filters, each with name and filter"
        return
    if not filters:
        yield "filter_list is empty: no answer would be scored; leave it out for the first answer as it stands"
    for name in _twice(str(entry.get("name")) for entry in filters if isinstance(entry, Mapping)):
        yield f"filter_list: {name!r} stands twice, and scores are kept by this name; give each filter its own"


def _twice(names: Iterator[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
