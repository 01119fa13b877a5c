"""What the live comparison asks: small cases of every request type, and the engines that are asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from support import suites
from support.live import LiveEngine
from support.parity import Case
from support.suites import Suite, json_lines

Builder = Callable[[Suite, Path], Suite]
CHAT = {"apply_chat_template": True, "system_instruction": "Answer briefly."}
SHORT = {"max_gen_toks": 24}
CONTEXT = 640


def settings(**fields: Any) -> BenchmarkSpec:
    return BenchmarkSpec("", "", **fields)


def long_texts(suite: Suite, data: Path) -> Suite:
    """A text of several windows."""
    rows = json_lines(data / "boolq" / "boolq.jsonl", 6)
    texts = [{"text": "\n\n".join(row["query"] for row in rows)}]
    return suite.with_data("long_texts", texts).with_task(
        "long_texts",
        data="long_texts",
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": metric} for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    )


def too_long(suite: Suite, data: Path) -> Suite:
    """A question of three that does not fit into the context."""
    texts = [row["query"] for row in json_lines(data / "boolq" / "boolq.jsonl", 6)]
    docs = [{"text": text, "choices": [" no", " yes"], "gold": 0} for text in (*texts[:2], "\n".join(texts[:5]))]
    suite.with_data("too_long", docs)
    common = {"data": "too_long", "doc_to_text": "{{text}}"}
    suite.with_task(
        "too_long_to_answer",
        output_type="generate_until",
        doc_to_target="no",
        generation_kwargs={"until": ["\n"], "do_sample": False, "max_gen_toks": 8},
        metric_list=[{"metric": "exact_match"}],
        **common,
    )
    return suite.with_task(
        "too_long_to_choose",
        output_type="multiple_choice",
        doc_to_choice="choices",
        doc_to_target="gold",
        metric_list=[{"metric": "acc"}],
        **common,
    )


def unsaid_sampling(suite: Suite, data: Path) -> Suite:
    """A task that says neither ``do_sample`` nor ``temperature``."""
    suite.with_data("unsaid", json_lines(data / "gsm8k" / "test.jsonl", 3))
    return suite.with_task(
        "unsaid_sampling",
        data="unsaid",
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["Question:"], "max_gen_toks": 24},
        metric_list=[{"metric": "exact_match"}],
    )


def headline(suite: Suite, data: Path) -> Suite:
    """A group, a generation, whole texts and last words in one run; no metric is bootstrapped."""
    suites.rolling(suites.mmlu(suites.gsm8k(suite, data), data), data)
    suite.with_data("last_words", json_lines(data / "gsm8k" / "test.jsonl", 10))
    return suite.with_task(
        "last_words",
        data="last_words",
        output_type="loglikelihood",
        doc_to_text="{{question.split(' ')[:-1]|join(' ')}}",
        doc_to_target="{{' '+question.split(' ')[-1]}}",
        metric_list=[{"metric": "acc"}],
    )


HEADLINE = Case(
    ("gsm8k", "mmlu_stem", "last_words", "passages"),
    settings(num_fewshot=1, limit=3, generation=SHORT),
    bootstrap_iters=100_000,
)

CASES: dict[str, tuple[Builder, Case]] = {
    "generate, few-shot, two filters": (
        suites.gsm8k,
        Case(("gsm8k",), settings(num_fewshot=2, limit=6, generation=SHORT)),
    ),
    "generate, chat, few-shot in turns": (
        suites.gsm8k,
        Case(("gsm8k",), settings(num_fewshot=1, limit=6, generation=SHORT, **CHAT)),
    ),
    "generate, repeats and votes": (
        suites.gsm8k_self_consistency,
        Case(
            ("gsm8k_cot_self_consistency",),
            settings(num_fewshot=0, limit=3, generation={**SHORT, "do_sample": False, "temperature": 0.0}),
        ),
    ),
    "choices, groups in a group": (suites.mmlu, Case(("mmlu",), settings(num_fewshot=0, limit=1))),
    "choices, chat": (suites.mmlu, Case(("mmlu_stem",), settings(num_fewshot=1, limit=1, **CHAT))),
    "choices of several tokens, a tag": (suites.arc, Case(("arc_both",), settings(limit=3))),
    "choices of contexts": (suites.winogrande, Case(("winogrande",), settings(num_fewshot=1, limit=8))),
    "log-likelihoods": (suites.last_words, Case(("last_words",), settings(limit=10))),
    "rolling, several windows": (long_texts, Case(("long_texts",))),
    "too long": (too_long, Case(("too_long_to_answer", "too_long_to_choose"))),
    "sampling unsaid": (unsaid_sampling, Case(("unsaid_sampling",))),
    "noise: generate": (
        suites.gsm8k,
        Case(("gsm8k",), settings(num_fewshot=0, limit=8, generation={"max_gen_toks": 48}, **CHAT)),
    ),
    "alone: generate": (
        suites.gsm8k,
        Case(("gsm8k",), settings(num_fewshot=0, limit=4, generation={"until": ["Question:"], "max_gen_toks": 16})),
    ),
    "volume: generate": (suites.gsm8k, Case(("gsm8k",), settings(num_fewshot=3, generation=SHORT))),
    "volume: choices": (suites.mmlu, Case(("mmlu",), settings(num_fewshot=2, limit=2))),
    "volume: several tokens": (suites.arc, Case(("arc_both",), settings(num_fewshot=1, limit=8))),
    "volume: rolling": (suites.rolling, Case(("passages",), settings(limit=16))),
}

DIFFERENCES = ("too long", "sampling unsaid")
NOISE = ("noise: generate", "generate, few-shot, two filters", "choices, groups in a group")
ONE_BY_ONE = ("alone: generate", "log-likelihoods")
VOLUME = tuple(name for name in CASES if name.startswith("volume"))
SMALL = tuple(name for name in CASES if name not in {*DIFFERENCES, *VOLUME, "noise: generate", "alone: generate"})
ALONE = {"max_num_seqs": 1, "enable_prefix_caching": False}

ENGINES: dict[str, LiveEngine] = {
    "float32": LiveEngine(
        "smollm2-135m-instruct", "float32", SMALL + DIFFERENCES, args={"max_model_len": CONTEXT, "max_num_seqs": 16}
    ),
    "bfloat16": LiveEngine(
        "smollm2-135m-instruct",
        "bfloat16",
        NOISE,
        ways=("lm-eval again", "reference", "fast"),
        args={"max_model_len": CONTEXT, "max_num_seqs": 16},
    ),
    "bfloat16-alone": LiveEngine(
        "smollm2-135m-instruct", "bfloat16", ONE_BY_ONE, ways=("reference",), args={"max_model_len": CONTEXT, **ALONE}
    ),
    "volume": LiveEngine("tiny-random-llama", "float32", VOLUME, args={"max_model_len": 4096, "max_num_seqs": 64}),
}
