"""Loading of benchmark specs into the run's leaf tasks, as ``lm_eval.simple_evaluate`` does it.

lm-eval depends on the order: set the seeds, make all tasks, then override their configurations. The four seeds of
``simple_evaluate`` (``random``, numpy, torch, few-shot; by default 0 and three times 1234) are all set to the run's
single seed here; torch's only if torch is already loaded.
"""

from __future__ import annotations

import difflib
import math
import random
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.utils import set_torch_seed

from evalrun_api import RunWarning
from evalrun_runner.benchmarks import values
from evalrun_runner.benchmarks.adapter_columns import name_groups, name_tasks, plain_name
from evalrun_runner.benchmarks.checks.documents import survey_documents
from evalrun_runner.benchmarks.checks.examples import leave_out_wrong_examples, survey_examples
from evalrun_runner.benchmarks.checks.survey import Survey
from evalrun_runner.benchmarks.code_eval import check_runs_by_code_eval, confine_code, runs_code
from evalrun_runner.benchmarks.errors import making_task
from evalrun_runner.benchmarks.first_document import TolerantTask, decide_by
from evalrun_runner.benchmarks.lm_eval_log import lm_eval_log
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.benchmarks.registry import RecipeFactory, open_registry
from evalrun_runner.benchmarks.repetition import Repetition, check_repetition, repeat
from evalrun_runner.benchmarks.suites.catalog import files_without_task
from evalrun_runner.benchmarks.suites.policy import check_suite
from evalrun_runner.benchmarks.suites.sandbox import confine_templates
from evalrun_runner.errors import InputError

MAX_SEED = 2**32 - 1
"""numpy's largest seed."""
_MOST_PASSED_OVER = 5


@dataclass(frozen=True)
class RandomState:
    """State of the global random generators at the end of loading, from which each leaf builds, in any order."""

    python: Any
    numpy: Any

    @classmethod
    def now(cls) -> RandomState:
        """Capture the present state."""
        return cls(random.getstate(), np.random.get_state())

    def restore(self) -> None:
        """Reset the generators to this state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)


@dataclass(frozen=True)
class LeafTask:
    """Task with documents of its own: lm-eval's task object, ready to build requests."""

    name: str
    benchmark: BenchmarkSpec
    task: Task = field(repr=False)
    recipe: TaskRecipe = field(repr=False)
    random_state: RandomState = field(repr=False)
    survey: Survey | None = field(default=None, repr=False)
    """What is wrong with the documents of a user's own task; None for lm-eval's own, which are scored as lm-eval scores
    them."""

    @property
    def limit(self) -> int | None:
        """Maximum number of documents, as lm-eval counts it; None for all."""
        return _limit(self.benchmark, self.task)

    @cached_property
    def sample(self) -> frozenset[int] | None:
        """Numbers of the documents that were drawn; None for all, or the first ones by ``limit``."""
        return _sample(self.name, self.benchmark, self.task)

    def evaluates(self, doc_id: int) -> bool:
        """Return whether a document is evaluated, as far as it is within ``limit``."""
        return self.sample is None or doc_id in self.sample

    @property
    def documents(self) -> int:
        """Number of documents that it evaluates. Runs the task's ``process_docs``, which may be slow."""
        if self.sample is not None:
            return len(self.sample)
        total = len(self.task.eval_docs)
        return total if self.limit is None else min(total, self.limit)


@dataclass(frozen=True)
class LoadedBenchmarks:
    """The run's leaf tasks in canonical order: first by benchmark, then in lm-eval's order."""

    leaves: tuple[LeafTask, ...]
    groups: Mapping[str, Group]
    warnings: tuple[RunWarning, ...] = ()
    """What lm-eval warned of while it made the tasks."""

    @property
    def runs_code(self) -> bool:
        """Whether a task runs code that the model writes."""
        return any(runs_code(leaf.task) for leaf in self.leaves)

    @property
    def surveys(self) -> Mapping[str, Survey]:
        """What is wrong with the documents of the user's own leaf tasks."""
        return {leaf.name: leaf.survey for leaf in self.leaves if leaf.survey is not None}

    def by_benchmark(self) -> dict[str, list[LeafTask]]:
        """Return the leaf tasks of each benchmark, by its name."""
        found: dict[str, list[LeafTask]] = {}
        for leaf in self.leaves:
            found.setdefault(leaf.benchmark.name, []).append(leaf)
        return found

    def leaf(self, name: str) -> LeafTask:
        """Return the leaf task with this name.

        Raises:
            KeyError: There is no such leaf task.
        """
        for leaf in self.leaves:
            if leaf.name == name:
                return leaf
        raise KeyError(name)


@dataclass
class _Made:
    """Tasks and groups of a benchmark, as lm-eval made them, with the factory that knows their configurations."""

    spec: BenchmarkSpec
    tasks: Mapping[str, Task]
    groups: Mapping[str, Group]
    factory: RecipeFactory


def load_benchmarks(
    specs: Sequence[BenchmarkSpec], *, seed: int, allow_code: bool, adapters: Sequence[str] = ()
) -> LoadedBenchmarks:
    """Make the tasks of every benchmark, ready to build requests.

    Args:
        specs: The run's benchmarks.
        seed: The run's seed, 0 to 2**32 - 1.
        allow_code: Whether suites may contain code.
        adapters: Names of the adapters that answer every benchmark, too, in columns of their own.

    Raises:
        InputError: A task is unknown; a suite contains code; data is missing, unreachable or empty; benchmarks share a
            name or a leaf task; or a task needs something unsupported (images, audio, running model code).
    """
    _check_specs(specs, seed)
    with lm_eval_log() as log:
        loaded = _load(specs, seed=seed, allow_code=allow_code, columns=(None, *adapters))
    return replace(loaded, warnings=log.warnings)


def _load(
    specs: Sequence[BenchmarkSpec], *, seed: int, allow_code: bool, columns: Sequence[str | None]
) -> LoadedBenchmarks:
    confine_templates()
    code_eval = confine_code()
    datasets.disable_progress_bars()
    made: list[_Made] = []
    registries: dict[tuple[Path | None, bool], TaskManager] = {}
    for adapter in columns:
        # Every column is made of the same state, so that all of them ask the same.
        random.seed(seed)
        np.random.seed(seed)
        if "torch" in sys.modules:
            set_torch_seed(seed)
        with code_eval.importing_tasks():
            made += _make_all([replace(spec, adapter=adapter) for spec in specs], registries, allow_code=allow_code)
    _check_disjoint(made)
    for benchmark in made:
        for name, task in benchmark.tasks.items():
            _check_supported(name, task, benchmark.spec)
            with making_task(name):
                configure(task, benchmark.spec.num_fewshot, benchmark.spec.generation, seed)
                wanted = Repetition(benchmark.spec.repeats, benchmark.spec.k)
                repeat(task, wanted)
                check_repetition(benchmark.spec.name, name, task, wanted)
    state = RandomState.now()
    leaves = []
    for benchmark in made:
        for name, task in benchmark.tasks.items():
            with making_task(name):
                leaves.append(_leaf(name, task, benchmark, seed, state))
    groups = {name: group for benchmark in made for name, group in benchmark.groups.items()}
    return LoadedBenchmarks(tuple(leaves), groups)


def configure(task: Task, num_fewshot: int | None, generation: Mapping[str, Any], seed: int) -> None:
    """Override a task's configuration as ``simple_evaluate`` does: a 0 for shots in the task's own YAML stays 0.

    A generation argument that is None drops the task's own.
    """
    if generation and task.get_config("output_type") == "generate_until":
        arguments = {**(task.get_config("generation_kwargs") or {}), **generation}
        kept = {name: value for name, value in arguments.items() if value is not None or name not in generation}
        task.set_config(key="generation_kwargs", value=kept)
    shots = task.get_config("num_fewshot")
    if num_fewshot is not None and shots != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    elif num_fewshot is None and shots is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=seed)
    if task.get_config("num_fewshot") == 0 and hasattr(task, "sampler"):
        # lm-eval has stored a whole split of documents here, of which it will draw none.
        task.sampler.replace_df([])


def _check_specs(specs: Sequence[BenchmarkSpec], seed: int) -> None:
    if not specs:
        raise InputError("no benchmarks: name at least one task")
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed} is out of range: expected 0 to {MAX_SEED}")
    names: set[str] = set()
    for spec in specs:
        if spec.name in names:
            raise InputError(f"two benchmarks are named {spec.name!r}: give each its own name")
        names.add(spec.name)
        if spec.limit is not None and spec.limit <= 0:
            raise InputError(f"benchmark {spec.name!r}: limit is {spec.limit}, expected more than 0, or none for all")
        if spec.num_fewshot is not None and spec.num_fewshot < 0:
            raise InputError(f"benchmark {spec.name!r}: numFewshot is {spec.num_fewshot}, expected 0 or more")


def _make_all(
    specs: Sequence[BenchmarkSpec], registries: dict[tuple[Path | None, bool], TaskManager], *, allow_code: bool
) -> Iterator[_Made]:
    def open_cached(suite: Path | None, include_defaults: bool) -> TaskManager:
        key = (suite, include_defaults)
        if key not in registries:
            registries[key] = open_registry(suite, include_defaults=include_defaults)
        return registries[key]

    for spec in specs:
        suite = spec.source.resolve() if spec.source else None
        if suite:
            check_suite(suite, allow_code=allow_code)
        # Reading lm-eval's own index takes seconds: do it only if the suite refers to names that it does not define.
        manager = open_cached(suite, suite is None)
        if suite and spec.task in manager.task_index and _names_others(manager):
            manager = open_cached(suite, True)
        if spec.task not in manager.task_index:
            raise InputError(_unknown_task(spec, manager))
        with making_task(spec.task):
            loaded = manager.load([spec.task])
        if not loaded["tasks"]:
            raise InputError(f"benchmark {spec.name!r}: {spec.task!r} holds no task")
        tasks = name_tasks(loaded["tasks"], spec.adapter)
        yield _Made(spec, tasks, name_groups(loaded["groups"], spec.adapter), manager._factory)


def _names_others(manager: TaskManager) -> bool:
    """Return whether a group of the suite lists, by bare name, something that the suite does not define."""

    def members(config: Mapping[str, Any]) -> Iterator[str]:
        listed = config.get("task")
        for member in listed if isinstance(listed, list) else []:
            if isinstance(member, str):
                yield member
            elif isinstance(member, dict) and "group" in member:
                yield from members(member)

    return any(
        name not in manager.task_index
        for group in manager.all_groups
        for name in members(manager.task_index[group].cfg or {})
    )


def _unknown_task(spec: BenchmarkSpec, manager: TaskManager) -> str:
    near = difflib.get_close_matches(spec.task, manager.all_tasks, n=5)
    where = f"the suite {spec.source}" if spec.source else "lm-eval's tasks, groups and tags"
    hint = f"did you mean {', '.join(near)}? " if near else ""
    if spec.source and not near:
        hint = f"it holds {', '.join(manager.all_tasks[:10]) or 'no task at all'}. "
    command = f"evalrun tasks --source {shlex.quote(str(spec.source))}" if spec.source else "evalrun tasks"
    passed = [] if spec.source is None else list(islice(files_without_task(spec.source), _MOST_PASSED_OVER))
    over = f". Passed over: {'; '.join(passed)}" if passed else ""
    return f"benchmark {spec.name!r}: there is no {spec.task!r} in {where}; {hint}`{command}` lists what there is{over}"


def _check_disjoint(made: Sequence[_Made]) -> None:
    owners: dict[str, str] = {}
    for benchmark in made:
        for name in [*benchmark.tasks, *benchmark.groups]:
            owner = owners.setdefault(name, benchmark.spec.name)
            if owner != benchmark.spec.name:
                raise InputError(
                    f"benchmarks {owner!r} and {benchmark.spec.name!r} both hold {name!r}: a task or group may be in "
                    "one benchmark of a run only; drop one of them, or make two runs"
                )


def _check_supported(name: str, task: Task, spec: BenchmarkSpec) -> None:
    if getattr(task, "MULTIMODAL", False):
        raise InputError(f"task {name!r} has images or audio in its requests, which is not supported: text only")
    if runs_code(task):
        if not spec.allow_code:
            raise InputError(
                f"benchmark {spec.name!r}: task {name!r} runs code that the model writes (unsafe_code)\n"
                "hint: set allowCode: true on this benchmark, and the code runs in a sandbox"
            )
        check_runs_by_code_eval(name, task)
    # lm-eval only logs an unknown metric or aggregation, and fails at the end of the run.
    if not callable(task.get_config("process_results")):
        for metric, function in getattr(task, "_metric_fn_list", {}).items():
            if function is None:
                raise InputError(f"task {name!r}: its metric {metric!r} is not known to lm-eval, or cannot be loaded")
    for metric, function in getattr(task, "_aggregation_list", {}).items():
        if function is None:
            raise InputError(f"task {name!r}: the aggregation of its metric {metric!r} is not known to lm-eval")


def _leaf(name: str, task: Task, made: _Made, seed: int, state: RandomState) -> LeafTask:
    """Make a leaf; the documents of a user's own task are looked at, and the first that is right decides."""
    if not isinstance(task, TolerantTask):
        return LeafTask(name, made.spec, task, _recipe(name, task, made, seed, 0), state)
    drawn = _sample(name, made.spec, task)

    def documents() -> Iterator[tuple[int, Any]]:
        numbered = islice(enumerate(task.eval_docs), _limit(made.spec, task))
        return (one for one in numbered if drawn is None or one[0] in drawn)

    survey = survey_documents(task, documents)
    survey = replace(survey, examples=survey_examples(task, survey.findings))
    leave_out_wrong_examples(task, survey)
    state.restore()
    first = survey.first_right or 0
    if first:
        decide_by(task, task.eval_docs[first])
    return LeafTask(name, made.spec, task, _recipe(name, task, made, seed, first), state, survey)


def _limit(spec: BenchmarkSpec, task: Task) -> int | None:
    if spec.limit is None:
        return None
    return math.ceil(len(task.eval_docs) * spec.limit) if spec.limit < 1 else int(spec.limit)


def _sample(name: str, spec: BenchmarkSpec, task: Task) -> frozenset[int] | None:
    # Drawn by the plain name: every column is asked the same documents.
    return None if spec.sample is None else spec.sample.select(plain_name(name, spec.adapter), len(task.eval_docs))


def _recipe(name: str, task: Task, made: _Made, seed: int, first: int) -> TaskRecipe:
    try:
        first_doc = values.encode(task.eval_docs[first])
    except TypeError as error:
        raise InputError(f"task {name!r}: its documents are not plain JSON, which is not supported: {error}") from error
    return TaskRecipe(
        task=name,
        config=made.factory.configs[plain_name(name, made.spec.adapter)],
        first_doc=first_doc,
        num_fewshot=made.spec.num_fewshot,
        generation=dict(made.spec.generation),
        seed=seed,
        repeats=made.spec.repeats,
        k=made.spec.k,
        runs_code=runs_code(task),
    )
