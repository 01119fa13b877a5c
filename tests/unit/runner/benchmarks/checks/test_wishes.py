"""Warnings of settings that have no effect on the tasks of a benchmark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import Benchmark
from evalrun_runner.benchmarks.checks.wishes import check_wishes, greedy_remark
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from support.suites import Suite

GENERATE = {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
CHOOSE = {"output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{[a, 'x']}}", "doc_to_target": 0}
ROLL = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{q}}"}


def warned(tmp_path: Path, task: dict[str, Any], **fields: Any) -> list[str]:
    suite = Suite(tmp_path / "suite").with_data("rows", [{"q": "1 + 1 =", "a": "2"}, {"q": "2 + 2 =", "a": "4"}])
    suite.with_task("sums", **{**suite.reading("rows", train="rows"), "training_split": "train", **task})
    benchmark = Benchmark.model_validate({"task": "sums", **fields})
    spec = BenchmarkSpec(
        "sums",
        "sums",
        source=suite.folder,
        num_fewshot=benchmark.num_fewshot,
        generation=benchmark.generation.model_dump(exclude_none=True) if benchmark.generation else {},
    )
    warnings = list(check_wishes([benchmark], load_benchmarks([spec], seed=3, allow_code=False)))
    assert {warning.about for warning in warnings} <= {"sums"}
    return [warning.message for warning in warnings]


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        (
            GENERATE | {"num_fewshot": 0},
            {"numFewshot": 2},
            "numFewshot: 2 has no effect on sums: it sets num_fewshot: 0",
        ),
        (
            CHOOSE,
            {"generation": {"max_gen_toks": 5}},
            "generation has no effect: its tasks generate nothing (multiple_c",
        ),
        (GENERATE, {"systemInstruction": "Be brief."}, "systemInstruction stands as plain text before every prompt"),
        (GENERATE, {"applyChatTemplate": True, "fewshotAsMultiturn": True}, "fewshotAsMultiturn has no effect: there"),
        (GENERATE, {"applyChatTemplate": True, "systemInstructionIn": "system"}, "systemInstructionIn has no effect"),
        (
            ROLL,
            {"numFewshot": 0, "applyChatTemplate": True, "systemInstruction": "Be brief."},
            "applyChatTemplate, systemInstruction have no effect: its tasks score whole texts",
        ),
        (
            GENERATE,  # for which lm-eval takes do_sample: false
            {"generation": {"temperature": 0.7}},
            "temperature: 0.7 has no effect: answers are greedy, because of do_sample: false; hint: set gen",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_setting_without_effect_is_named(
    tmp_path: Path, task: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    (said,) = warned(tmp_path, task, **fields)
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        (GENERATE, {"numFewshot": 1, "limit": 1000, "applyChatTemplate": True, "fewshotAsMultiturn": False}),
        (
            GENERATE,
            {"applyChatTemplate": True, "systemInstruction": "Be brief.", "systemInstructionIn": "firstUserTurn"},
        ),
        (GENERATE | {"description": "x"}, {"applyChatTemplate": True, "systemInstructionIn": "firstUserTurn"}),
        (
            GENERATE | {"generation_kwargs": {"until": ["x"]}},
            {"generation": {"temperature": 0.7, "top_p": 0.9, "top_k": 5}},
        ),
        (GENERATE, {"generation": {"repetition_penalty": 1.1, "until": ["x"], "temperature": 0}}),
        (CHOOSE, {"numFewshot": 1}),
        (ROLL, {"limit": 1}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_setting_with_an_effect_is_not_mentioned(
    tmp_path: Path, task: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert not warned(tmp_path, task, **fields)


@pytest.mark.parametrize(
    ("arguments", "remark"),
    [
        ({"do_sample": False, "temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0}, None),
        ({"do_sample": True, "top_p": 0.9}, None),
        ({"temperature": 0.5, "top_k": 5}, None),
        (
            {"do_sample": True, "temperature": 0.0},
            "do_sample: true has no effect: .* because of temperature: 0; hint: set a t",
        ),
        (
            {"do_sample": False, "top_k": 5, "min_p": 0.1},
            "top_k: 5, min_p: 0.1 have no effect: .* because of do_sample: f",
        ),
        ({"top_p": 0.9}, "top_p: 0.9 has no effect: .* because of neither temperature nor do_sample; hint: set a temp"),
        ({"temperature": 0, "top_p": 0.9}, "top_p: 0.9 has no effect: .* because of temperature: 0"),
        ({"temperature": "warm"}, None),
    ],
    ids=str,
)
def test_arguments_of_sampling_have_no_effect_on_greedy_answers(arguments: dict[str, Any], remark: str | None) -> None:
    said = greedy_remark(arguments)
    assert (said is None) == (remark is None)
    assert re.search(remark or "", said or ""), said
