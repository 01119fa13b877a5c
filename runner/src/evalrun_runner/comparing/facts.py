"""Facts that two runs must agree in for their scores to be comparable, and where they do not.

Both EvalRun and lm-eval write them in the keys of lm-eval's results. A difference of the models or engines is what a
comparison is about; a difference of what was asked, or of how answers became scores, makes it one of apples and pears.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_PROMPT_FIELDS = (
    ("doc_to_text", "prompt template (doc_to_text)"),
    ("doc_to_choice", "choices (doc_to_choice)"),
    ("doc_to_target", "right answer (doc_to_target)"),
    ("description", "description"),
    ("target_delimiter", "target delimiter"),
    ("fewshot_delimiter", "few-shot delimiter"),
    ("fewshot_split", "few-shot split"),
    ("dataset_name", "data set configuration"),
    ("output_type", "output type"),
    ("repeats", "repeats"),
    ("generation_kwargs", "generation arguments"),
    ("filter_list", "filters"),
    ("metric_list", "metrics"),
    ("process_results", "scoring code (process_results)"),
)
"""Fields of a task's configuration that decide prompts, answers or scores, with their names for people."""
_RUN_FIELDS = (
    ("system_instruction_sha", "system instruction"),
    ("chat_template_sha", "chat template"),
    ("fewshot_as_multiturn", "few-shot examples as turns"),
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_SHOWN = 60
"""Characters of a value in a message."""


@dataclass(frozen=True, slots=True)
class FactDifference:
    """Something in which two runs differ, so that their scores do not answer the same question."""

    task: str
    """Leaf task; empty if it is about every task."""
    what: str
    """Name of the fact, for people."""
    first: str
    """What the first run has, cut to a line."""
    second: str
    """What the second run has, cut to a line."""

    def __str__(self) -> str:
        where = f"{self.task}: " if self.task else ""
        return f"{where}{self.what}: {self.first} against {self.second}"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run says of itself."""

    source: str
    """``EvalRun``, ``lm-eval`` or ``table``."""
    model: str = ""
    """Name of the model; empty if not known."""
    model_identity: str = ""
    """Digest, commit or listing of the model; empty if not known: two runs of one identity are of one model."""
    harness: str = ""
    """Version of lm-eval; empty if not known."""
    engine: str = ""
    """``vllm``, ``mock``, or what lm-eval calls its model source."""
    tasks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Facts that must agree, of each leaf task, as canonical text by their names for people."""
    lower_is_better: frozenset[tuple[str, str]] = frozenset()
    """(task, metric) of which a lower value is better."""
    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metrics of each leaf task in the order of its configuration."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Members of each group."""


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """What is known of a run beside its results."""

    benchmark_of: Mapping[str, str] = field(default_factory=dict)
    """Benchmark of each leaf task, by which EvalRun writes values that differ between benchmarks."""
    samples: Mapping[str, object] = field(default_factory=dict)
    """How the documents of each benchmark were drawn at random; None: all of them, or the first ones."""
    model_identity: str = ""
    """Digest, commit or listing of the model; empty if not known."""


def facts_of(results: Mapping[str, object], source: str, origin: RunOrigin | None = None) -> RunFacts:
    """Collect the facts of a results document in lm-eval's layout.

    Args:
        results: The document as ``json`` read it.
        source: Who wrote it.
        origin: What is known of the run beside its results.
    """
    origin = origin or RunOrigin()
    configs = _mapping(results.get("configs"))
    better = _mapping(results.get("higher_is_better"))
    tasks = list(configs)
    return RunFacts(
        source=source,
        model=_text(results.get("model_name")) or _text(_mapping(results.get("config")).get("model")),
        model_identity=origin.model_identity,
        harness=_text(results.get("lm_eval_version")),
        engine=_text(_mapping(results.get("evalrun")).get("engine")) or _text(results.get("model_source")),
        tasks={task: _task_facts(task, results, origin) for task in tasks},
        lower_is_better=frozenset(
            (task, metric) for task in tasks for metric, higher in _mapping(better.get(task)).items() if higher is False
        ),
        metrics={task: _metrics(_mapping(configs[task])) for task in tasks},
        groups={
            name: tuple(str(member) for member in members)
            for name, members in _mapping(results.get("group_subtasks")).items()
            if isinstance(members, list) and members
        },
    )


def differences(first: RunFacts, second: RunFacts, tasks: Sequence[str]) -> list[FactDifference]:
    """List where two runs differ in facts that must agree; one that only one side states is no difference.

    A difference that every task has is listed once.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    compared = 0
    for task in tasks:
        ours, theirs = first.tasks.get(task), second.tasks.get(task)
        if ours is None or theirs is None:
            continue
        compared += 1
        for what in ours:
            if what in theirs and ours[what] != theirs[what]:
                found.setdefault((what, *_told_apart(ours[what], theirs[what])), []).append(task)
    return [
        FactDifference(task, *what)
        for what, of_tasks in found.items()
        for task in ([""] if len(of_tasks) == compared > 1 else of_tasks)
    ]


def _task_facts(task: str, results: Mapping[str, object], origin: RunOrigin) -> Mapping[str, str]:
    facts: dict[str, str] = {}
    benchmark = origin.benchmark_of.get(task, task)

    def add(what: str, holder: Mapping[str, object], key: str) -> None:
        if key in holder:
            facts[what] = _canonical(holder[key])

    add("task version", _mapping(results.get("versions")), task)
    add("few-shot examples", _mapping(results.get("n-shot")), task)
    config = _mapping(results.get("config"))
    for what, key in (("limit", "limit"), ("generation override", "gen_kwargs")):
        add(what, {key: _of_benchmark(config.get(key), benchmark)}, key)
    for key, what in _RUN_FIELDS:
        if key in results:
            add(what, {key: _of_benchmark(results[key], benchmark)}, key)
    add("random sample", origin.samples, benchmark)
    account = _mapping(_mapping(_mapping(results.get("evalrun")).get("tasks")).get(task))
    if account:
        add("items skipped by early stopping", {"skipped": account.get("skipped")}, "skipped")
    of_task = _mapping(_mapping(results.get("configs")).get(task))
    for key, what in _PROMPT_FIELDS:
        add(what, of_task, key)
    return facts


def _of_benchmark(value: object, benchmark: str) -> object:
    """Return the value of one benchmark: EvalRun writes an object by benchmark where they differ."""
    return value[benchmark] if isinstance(value, dict) and benchmark in value else value


def _metrics(config: Mapping[str, object]) -> tuple[str, ...]:
    listed = config.get("metric_list")
    entries = listed if isinstance(listed, list) else []
    return tuple(str(entry["metric"]) for entry in entries if isinstance(entry, dict) and "metric" in entry)


def _canonical(value: object) -> str:
    """Return a value as text that is equal for equal meanings: 5 and 5.0, null and false and empty."""
    if value in (None, False, "", [], {}):
        return "none"
    if isinstance(value, str):
        return _ADDRESS.sub("", value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    return _ADDRESS.sub("", json.dumps(value, sort_keys=True, default=str, ensure_ascii=False))


def _told_apart(first: str, second: str) -> tuple[str, str]:
    """Cut two texts to a line each that shows where they differ."""
    if max(len(first), len(second)) <= _SHOWN:
        return _quoted(first), _quoted(second)
    start = next(
        (place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    start = max(0, start - 20)
    before = "…" if start else ""

    def cut(text: str) -> str:
        rest = text[start : start + _SHOWN]
        return _quoted(f"{before}{rest}{'…' if len(text) > start + _SHOWN else ''}")

    return cut(first), cut(second)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w.,+-]+", text) else repr(text)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
