"""Reasoning that cannot work is refused by name before an engine is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_api import EvalRunSpec
from evalrun_runner.driver.preflight import load_tasks
from evalrun_runner.driver.reasoning import check_thinking_model, check_thinking_tasks, thinking_by_task
from evalrun_runner.engine.settings import engine_settings
from evalrun_runner.engine.vllm import VllmSettings, engine_args
from evalrun_runner.errors import InputError
from support.suites import Suite
from support.tokenizers import word_tokenizer

TEMPLATE = "{{ messages[-1]['content'] }}{% if enable_thinking is not false %}<think>{{ reasoning_effort }}{% endif %}"
THINK = {"endToken": "</think>"}


def spec_of(*benchmarks: dict[str, Any], reasoning: dict[str, Any] | None = None) -> EvalRunSpec:
    given = {"task": "sums", "source": {"path": "suite"}}
    return EvalRunSpec.model_validate(
        {
            "model": {"uri": "hf://org/m"},
            "engine": {"vllm": {} if reasoning is None else {"reasoning": reasoning}},
            "output": {"uri": "o"},
            "benchmarks": [{**given, **one} for one in benchmarks] or [given],
        }
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    made = Suite(tmp_path / "suite").with_data("rows", [{"q": "1 + 1 =", "a": "2", "n": 0}])
    question = {"doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
    made.with_task("sums", **{**made.reading("rows"), "output_type": "generate_until", **question})
    choices = {"doc_to_choice": ["two", "four"], "doc_to_target": "n"}
    made.with_task("letters", **{**made.reading("rows"), "output_type": "multiple_choice", **question, **choices})
    return made.folder


def check_tasks(suite: Path, spec: EvalRunSpec) -> dict[str, Any]:
    loaded = load_tasks(spec, {one.resolved_name: suite for one in spec.benchmarks}, allow_code=False)
    check_thinking_tasks(spec, loaded)
    return thinking_by_task(spec, loaded)


def check_model(spec: EvalRunSpec, *added: str, template: str = TEMPLATE) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(list(added))
    tokenizer.chat_template = template
    check_thinking_model(spec, tokenizer)


class TestTasks:
    """What a task can have."""

    def test_multiple_choice_has_no_thinking(self, suite: Path) -> None:
        spec = spec_of({"task": "letters"}, reasoning=THINK)
        with pytest.raises(InputError, match=r"(?s)benchmarks\[0\]: letters asks for log-likelihoods.*enabled: false"):
            check_tasks(suite, spec)

    def test_reasoning_is_switched_off_for_one_benchmark(self, suite: Path) -> None:
        off = {"task": "letters", "reasoning": {"enabled": False}}
        assert list(check_tasks(suite, spec_of({}, off, reasoning=THINK))) == ["sums"]

    def test_a_budget_leaves_room_for_the_answer(self, suite: Path) -> None:
        room = {"generation": {"max_gen_toks": 100}}
        check_tasks(suite, spec_of(room, reasoning={**THINK, "budget": 99}))
        with pytest.raises(InputError, match=r"budget of 100 tokens leaves nothing of the 100 that .*max_gen_toks"):
            check_tasks(suite, spec_of(room, reasoning={**THINK, "budget": 100}))
        with pytest.raises(InputError, match=r"leaves nothing of the 256 .*max_gen_toks"):
            check_tasks(suite, spec_of(reasoning={**THINK, "budget": 2048}))

    def test_a_length_that_is_none_is_left_to_the_check_of_generation_arguments(self, tmp_path: Path) -> None:
        made = Suite(tmp_path / "odd").with_data("rows", [{"q": "1 + 1 =", "a": "2"}])
        question = {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
        odd = {"generation_kwargs": {"max_gen_toks": "many"}}
        made.with_task("sums", **{**made.reading("rows"), **question, **odd})
        assert check_tasks(made.folder, spec_of(reasoning={**THINK, "budget": 5})).keys() == {"sums"}

    def test_a_benchmark_has_its_own_budget(self, suite: Path) -> None:
        found = check_tasks(suite, spec_of({"reasoning": {"budget": 5}}, reasoning={**THINK, "budget": 9}))
        assert found["sums"].budget == 5


class TestModels:
    """What a model knows."""

    def test_known_tokens_and_variables_are_accepted(self) -> None:
        applied = {"applyChatTemplate": True, "chatTemplateArgs": {"enable_thinking": False}}
        check_model(spec_of(applied, reasoning={**THINK, "budget": 5, "effort": "low"}), "<think>", "</think>")
        check_model(spec_of(applied, reasoning={"parser": "qwen3", "budget": 5}), "<think>", "</think>")
        check_model(spec_of(reasoning={"endToken": "<|channel|>final"}), "<|channel|>")

    @pytest.mark.parametrize(
        ("reasoning", "benchmark", "message"),
        [
            ({"endToken": "</thinking>"}, {}, r"endToken: .* has no token '</thinking>'.*'</think>'"),
            ({"parser": "mistral"}, {}, r"reasoning.parser: mistral: .* has no token '\[/THINK\]'"),
            ({"endToken": "</done>", "budget": 4}, {}, r"startToken: .* has no token '<done>'"),
            ({"endToken": "final", "budget": 4}, {}, "startToken: it is not set, and a budget is counted from it"),
            ({**THINK, "effort": "low"}, {}, "effort is low, which only a chat template reads"),
            (
                THINK,
                {"applyChatTemplate": True, "chatTemplateArgs": {"enable_thinkin": True}},
                r"chatTemplateArgs.enable_thinkin: .* reads no variable .*\n.*did you mean enable_thinking\?",
            ),
            (
                {**THINK, "effort": "low"},
                {"applyChatTemplate": True, "chatTemplateArgs": {"reasoning_effort": "high"}},
                "given twice, there as low",
            ),
        ],
    )
    def test_what_a_model_does_not_know_is_refused_by_name(
        self, reasoning: dict[str, Any], benchmark: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=f"(?s){message}"):
            check_model(spec_of(benchmark, reasoning=reasoning), "<think>", "</think>", "</done>", "final")

    def test_an_effort_that_the_template_does_not_read_is_refused(self) -> None:
        spec = spec_of({"applyChatTemplate": True}, reasoning={**THINK, "effort": "low"})
        with pytest.raises(InputError, match=r"effort of reasoning: .* reads no variable reasoning_effort"):
            check_model(spec, "<think>", "</think>", template="{{ messages[-1]['content'] }}")


class TestEngine:
    """What the engine is started with."""

    def test_markers_are_the_engines_only_where_a_budget_is_enforced(self) -> None:
        def config(reasoning: dict[str, Any], *benchmarks: dict[str, Any]) -> object:
            settings = engine_settings(spec_of(*benchmarks, reasoning=reasoning), Path("m"))
            assert isinstance(settings, VllmSettings)
            return engine_args(settings).get("reasoning_config")

        markers = {"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}
        assert config(THINK) is None
        assert config({**THINK, "budget": 5}) == markers
        assert config(THINK, {"reasoning": {"budget": 5}}) == markers
        assert config({**THINK, "budget": 5}, {"reasoning": {"enabled": False}}) is None
