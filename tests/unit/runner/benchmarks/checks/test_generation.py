"""Generation arguments of tasks, before an engine is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
from lm_eval.tasks._yaml_loader import load_yaml

from evalrun_runner.benchmarks.checks.generation import ContextLimit, check_generation
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.engine.generation import BadArgument, parse_generation

from .conftest import CHOOSE, GENERATE, Load

LM_EVAL_TASKS = Path(lm_eval.tasks.__file__).parent


def found(loaded: LoadedBenchmarks, limit: int | None = None) -> list[str]:
    context = None if limit is None else ContextLimit(limit, "spec.engine.vllm.maxModelLen")
    return [f"{objection.what}; {objection.hint}" for objection in check_generation(loaded, context)]


def generating(**arguments: Any) -> dict[str, Any]:
    return {**GENERATE, "generation_kwargs": {"until": ["."], **arguments}}


def test_an_unknown_argument_is_found_with_the_name_that_is_meant(load: Load) -> None:
    (objection,) = found(load(generating(stop=["Q:"])))

    assert objection.startswith("generation_kwargs: unknown generation argument 'stop'; did you mean until?")
    assert "benchmark sums: `generation:` overrides a task's arguments, and drops one with null" in objection


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_beams": 4}, "num_beams is 4"),
        ({"max_gen_toks": "many"}, "max_gen_toks is 'many'; expected a whole number, 1 or more"),
        ({"top_p": 1.5, "do_sample": True}, "top_p is 1.5; expected a number above 0, at most 1"),
        ({"top_k": 2.5, "do_sample": True}, "top_k is 2.5; expected a whole number"),
        ({"temperature": -1}, "temperature is -1.0; expected a number from 0 to 2"),
        ({"min_tokens": 90, "max_gen_toks": 9}, "min_tokens is 90; expected at most 9"),
    ],
)
def test_a_value_that_the_engine_would_refuse_is_found(load: Load, arguments: dict[str, Any], message: str) -> None:
    (objection,) = found(load(generating(**arguments)))

    assert message in objection


def test_arguments_of_other_engines_that_ask_for_nothing_are_accepted(load: Load) -> None:
    assert found(load(generating(num_beams=1, num_return_sequences=1, top_p=None))) == []


def test_null_in_the_benchmark_drops_an_argument_of_the_task(load: Load) -> None:
    loaded = load(generating(num_beams=10), generation={"num_beams": None, "max_gen_toks": 5})

    assert found(loaded) == []
    assert loaded.leaves[0].task.config.generation_kwargs == {"until": ["."], "max_gen_toks": 5}


@pytest.mark.parametrize("name", ["max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_an_answer_longer_than_the_context_is_found_by_the_arguments_name(load: Load, name: str) -> None:
    (objection,) = found(load(generating(**{name: 2048})), limit=2048)

    assert f"an answer may have 2,048 tokens ({name})" in objection
    assert "at most 2,048 (spec.engine.vllm.maxModelLen)" in objection
    assert "generation.max_gen_toks of benchmark sums" in objection


def test_an_answer_that_leaves_room_for_a_prompt_is_accepted(load: Load) -> None:
    assert found(load(generating(max_gen_toks=2047)), limit=2048) == []
    assert found(load(generating(max_gen_toks=32768)), limit=None) == []


def test_a_length_that_another_one_overrides_is_said(load: Load) -> None:
    (objection,) = found(load(generating(max_gen_toks=9, max_tokens=8)), limit=None)

    assert "max_tokens: 8 has no effect beside max_gen_toks: 9" in objection
    assert found(load(generating(max_tokens=8), generation={"max_gen_toks": 9}), limit=None) == []


def test_the_default_length_counts_too(load: Load) -> None:
    (objection,) = found(load(generating()), limit=200)

    assert "an answer may have 256 tokens (the default of lm-eval)" in objection


def test_tasks_that_generate_nothing_have_no_arguments_to_check(load: Load) -> None:
    assert found(load(CHOOSE), limit=1) == []


def test_every_generating_task_of_lm_eval_is_accepted_or_asks_for_beam_search() -> None:
    files = [path for path in LM_EVAL_TASKS.rglob("*") if path.suffix == ".yaml" or path.name.endswith("_yaml")]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    seen, refused = 0, {}
    for path in (path for path, text in texts.items() if "generation_kwargs:" in text):
        arguments = load_yaml(path, resolve_func=False, recursive=False).get("generation_kwargs")
        if isinstance(arguments, dict):
            seen += 1
            try:
                parse_generation(arguments, None)
            except BadArgument as error:
                refused[path.relative_to(LM_EVAL_TASKS).as_posix()] = str(error).partition(",")[0]

    assert seen > 300
    assert refused == {"code_x_glue/code-text/_default_template_yaml": "num_beams is 10"}
