"""Names that lm-eval knows, and the one that was probably meant where a name is unknown to it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields

import lm_eval.api.metrics  # fills the registries of metrics and aggregations
import lm_eval.filters  # noqa: F401  # fills the registry of filters
import yaml
from lm_eval.api.registry import aggregation_registry, filter_registry, metric_registry
from lm_eval.api.samplers import SAMPLER_REGISTRY
from lm_eval.api.task import ALL_OUTPUT_TYPES
from lm_eval.config.group import AggMetricConfig, GroupConfig
from lm_eval.config.task import FewshotConfig, TaskConfig

from evalrun_runner.benchmarks.suites.yaml_nodes import YamlSetting

_READ_BEFORE = frozenset({"include", "tag", "group", "task_list", "class"})
"""Keys that lm-eval reads before it makes a task's configuration."""
TASK_KEYS = frozenset(field.name for field in fields(TaskConfig)) | _READ_BEFORE
GROUP_KEYS = frozenset(field.name for field in fields(GroupConfig)) | TASK_KEYS
"""Keys of a group; those of a task among them are handed on to its tasks."""
FEWSHOT_KEYS = frozenset(field.name for field in fields(FewshotConfig))
AGGREGATION_KEYS = frozenset(field.name for field in fields(AggMetricConfig))
"""Keys of an entry of a group's ``aggregate_metric_list``."""
_LIKENESS = 0.75
"""Minimum ratio of equal characters of two names, one of which is taken for the other misspelt."""
_SHOWN = 12


def near(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant: a similar one, or one that is the beginning of it; else None."""
    names = sorted(known)
    plain = name.lower().replace("-", "_").strip()
    for candidate in names:
        if candidate.lower() == plain:
            return candidate
    if found := difflib.get_close_matches(plain, names, n=1, cutoff=_LIKENESS):
        return found[0]
    begun = [candidate for candidate in names if len(candidate) > 1 and plain.startswith(candidate)]
    return max(begun, key=len, default=None)


def suggestion(name: str, known: Collection[str]) -> str:
    """Return what to say after an unknown name: the name that was meant, or the names that there are."""
    if meant := near(name, known):
        return f"did you mean {meant}?"
    names = sorted(known)
    return f"expected one of {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"


def metric_meant(name: object) -> str | None:
    """Return the metric of lm-eval's own that a name stands for if it is misspelt; None if it may be another one."""
    return near(name, metric_registry.keys()) if isinstance(name, str) else None  # no dict


def misspelt_values(settings: Iterable[YamlSetting]) -> Iterator[tuple[YamlSetting, str]]:
    """Yield the settings whose value must be one of lm-eval's names and is not, each with what to say."""
    known: dict[tuple[str, ...], Collection[str]] = {
        ("output_type",): ALL_OUTPUT_TYPES,
        ("metric_list", "aggregation"): aggregation_registry.keys(),
        ("filter_list", "filter", "function"): filter_registry.keys(),
        ("fewshot_config", "sampler"): SAMPLER_REGISTRY.keys(),
    }
    for setting in settings:
        names = known.get(setting.path)
        if names is not None and isinstance(setting.value, str) and setting.value not in names:
            yield setting, f"there is no {setting.value!r}; {suggestion(setting.value, names)}"


def why_unknown(key: str, known: Collection[str]) -> str | None:
    """Return what to say of a key that is not one of the known ones; None if it is."""
    if key in known:
        return None
    meant = near(key, known)
    return "lm-eval knows no such key" + (f"; did you mean {meant}?" if meant else "")


def wrong_entries(key: str, node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Yield the line and the fault of entries of a task's or group's lists and of ``fewshot_config``."""
    match key, node:
        case "fewshot_config", yaml.MappingNode():
            for name, line in _keys(node).items():
                if why := why_unknown(name, FEWSHOT_KEYS):
                    yield line, f"{name}: {why}"
        case "metric_list", yaml.SequenceNode():
            yield from _lacking(node, "metric")
        case "aggregate_metric_list", yaml.SequenceNode() | yaml.MappingNode():
            yield from _wrong_aggregations(node)
        case "filter_list", yaml.SequenceNode():
            yield from _lacking(node, "name", "filter")
            for entry in node.value:
                for inner, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
                    if inner.value == "filter" and isinstance(value, yaml.SequenceNode):
                        yield from _lacking(value, "function")


def _wrong_aggregations(node: yaml.SequenceNode | yaml.MappingNode) -> Iterator[tuple[int, str]]:
    """Yield the faults of a group's entries; a single one may stand without a list."""
    if isinstance(node, yaml.SequenceNode):
        yield from _lacking(node, "metric")
    for place, entry in enumerate(node.value if isinstance(node, yaml.SequenceNode) else [node]):
        for name, line in _keys(entry).items() if isinstance(entry, yaml.MappingNode) else ():
            if why := why_unknown(name, AGGREGATION_KEYS):
                yield line, f"[{place}].{name}: {why}"


def _lacking(node: yaml.SequenceNode, *required: str) -> Iterator[tuple[int, str]]:
    for place, entry in enumerate(node.value):
        line = entry.start_mark.line + 1
        if not isinstance(entry, yaml.MappingNode):
            yield line, f"[{place}]: expected a mapping with {' and '.join(required)}"
            continue
        there = _keys(entry)
        for key in required:
            if key not in there:
                meant = near(key, there)
                yield line, f"[{place}]: has no {key}" + (f"; did you mean it by {meant}?" if meant else "")


def _keys(node: yaml.MappingNode) -> dict[str, int]:
    """Return the keys of a mapping with their lines, those of merged mappings included."""
    found: dict[str, int] = {}
    for key, value in node.value:
        if not key.tag.endswith(":merge"):
            found[str(key.value)] = key.start_mark.line + 1
            continue
        for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if isinstance(merged, yaml.MappingNode):
                found = {**_keys(merged), **found}
    return found
