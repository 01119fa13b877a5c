"""The keys of lm-eval's results that say how a run was made, by lm-eval's names.

Left out is what depends on the machine or the moment of whoever ends the run (``git_hash``, ``pretty_env_info``,
``total_evaluation_time_seconds``, ``device``): every driver that ends a run writes the same bytes. ``run.json`` has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lm_eval.utils import hash_string, sanitize_model_name

from evalrun_api import Benchmark, EvalRunSpec
from evalrun_api.wire.outputs import ResultsConfig, RunRecord
from evalrun_runner.benchmarks.aggregate import BOOTSTRAP_ITERATIONS


@dataclass(frozen=True, slots=True)
class HowMade:
    """What lm-eval's keys are made of."""

    spec: EvalRunSpec
    record: RunRecord
    """run.json with its first attempt: the same for every driver of the run."""
    versions: Mapping[str, str]
    """Versions in the plan."""
    chat_template: object
    """The tokenizer's chat template; None where no benchmark applies it."""
    task_hashes: Mapping[str, str]
    """Hash of all samples of each task, if samples are written."""


def lm_eval_keys(made: HowMade) -> dict[str, Any]:
    """Return lm-eval's keys beside its scores. What differs between benchmarks is an object by the benchmark's name."""
    record, spec = made.record, made.spec
    first = record.attempts[0]
    begun = record.created or first.started
    template = made.chat_template
    text = template if template is None or isinstance(template, str) else json.dumps(template)
    templates = _by_benchmark(spec, lambda benchmark: text if benchmark.apply_chat_template else None)
    instructions = _by_benchmark(spec, lambda benchmark: benchmark.system_instruction)
    return {
        "config": _config(spec, record),
        "date": datetime.fromisoformat(begun).timestamp(),
        "lm_eval_version": made.versions.get("lm-eval"),
        "transformers_version": first.versions.get("transformers"),
        "model_source": record.engine.name,
        "model_name": record.model.name,
        "model_name_sanitized": sanitize_model_name(record.model.name),
        "system_instruction": _common(instructions),
        "system_instruction_sha": _common(_hashes(instructions)),
        "fewshot_as_multiturn": _common(_by_benchmark(spec, _is_multiturn)),
        "chat_template": _common(templates),
        "chat_template_sha": _common(_hashes(templates)),
        "task_hashes": dict(made.task_hashes),
    }


def _config(spec: EvalRunSpec, record: RunRecord) -> ResultsConfig:
    model, seed = record.model, spec.seed
    arguments = {"pretrained": model.uri, "revision": model.revision, **(record.engine.args or {})}

    def generation(benchmark: Benchmark) -> object:
        return None if benchmark.generation is None else benchmark.generation.to_dict()

    return ResultsConfig(
        model=model.name,
        seed=seed,
        model_args={name: value for name, value in arguments.items() if value is not None},
        batch_size="auto",
        limit=_common(_by_benchmark(spec, lambda benchmark: benchmark.limit)),
        gen_kwargs=_common(_by_benchmark(spec, generation)),
        bootstrap_iters=BOOTSTRAP_ITERATIONS,
        random_seed=seed,
        numpy_seed=seed,
        torch_seed=seed,
        fewshot_seed=seed,
    )


def _is_multiturn(benchmark: Benchmark) -> bool:
    # As lm-eval: with a chat template, examples are turns unless it is asked for otherwise.
    return benchmark.apply_chat_template and benchmark.fewshot_as_multiturn is not False


def _by_benchmark(spec: EvalRunSpec, value: Callable[[Benchmark], object]) -> dict[str, object]:
    return {benchmark.resolved_name: value(benchmark) for benchmark in spec.benchmarks}


def _hashes(texts: Mapping[str, object]) -> dict[str, object]:
    return {name: hash_string(text) if isinstance(text, str) and text else None for name, text in texts.items()}


def _common(values: Mapping[str, object]) -> object:
    """Return the value that all benchmarks have in common, or all of them by name."""
    some = list(values.values())
    return some[0] if all(value == some[0] for value in some) else dict(values)
