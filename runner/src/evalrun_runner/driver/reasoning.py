"""Reasoning of a run's tasks: which ones think, and what cannot work is refused before an engine is asked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalrun_api import Benchmark, EvalRunSpec, ThinkingMarkers
from evalrun_runner.benchmarks.checks.wording import leaf_names
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.engine.generation import DEFAULT_MAX_GEN_TOKS, length_argument
from evalrun_runner.engine.settings import EFFORT_VARIABLE, effort_of, thinking_of
from evalrun_runner.engine.thinking import Thinking
from evalrun_runner.engine.tokens import TextCodec, Tokenizer
from evalrun_runner.errors import InputError, listed

GENERATED = "generate_until"
_ENGINE = "spec.engine.vllm.reasoning"
_MOST_TOKENS = 8


def thinking_by_task(spec: EvalRunSpec, loaded: LoadedBenchmarks) -> dict[str, Thinking]:
    """Return the leaf tasks before whose answers the model thinks."""
    found: dict[str, Thinking] = {}
    for _, benchmark, leaves in _by_benchmark(spec, loaded):
        if (thinking := thinking_of(spec, benchmark)) is not None:
            found |= {leaf.name: thinking for leaf in leaves}
    return found


def check_thinking_tasks(spec: EvalRunSpec, loaded: LoadedBenchmarks) -> None:
    """Refuse reasoning of tasks that cannot have it.

    Raises:
        InputError: A task is scored by log-likelihoods, hides the end of the thinking, or has no token left to answer.
    """
    for where, benchmark, leaves in _by_benchmark(spec, loaded):
        thinking = thinking_of(spec, benchmark)
        if thinking is None:
            continue
        scored = [leaf for leaf in leaves if leaf.task.get_config("output_type") != GENERATED]
        if scored:
            raise InputError(
                f"{where}: {leaf_names(scored)} asks for log-likelihoods of given answers, before which no model can "
                f"think; expected tasks of output_type {GENERATED} with {_ENGINE}\n"
                f"hint: {where}.reasoning: {{enabled: false}}, or a generative variant of the task"
            )
        for leaf in leaves:
            _check_arguments(f"{where}: task {leaf.name}", thinking, leaf.task.get_config("generation_kwargs") or {})


def check_thinking_model(spec: EvalRunSpec, tokenizer: Tokenizer) -> None:
    """Refuse reasoning that the model's tokenizer or its chat template knows nothing of.

    Args:
        spec: The run's spec.
        tokenizer: The model's, with the chat template that the run applies.

    Raises:
        InputError: A marker is no token of the tokenizer, a budget has no start marker, or a variable is none of the
            template's.
    """
    reasoning = None if spec.engine.vllm is None else spec.engine.vllm.reasoning
    if reasoning is not None:
        budgeted = any((one := thinking_of(spec, b)) is not None and one.budget is not None for b in spec.benchmarks)
        by_parser = None if reasoning.parser is None else f"{_ENGINE}.parser: {reasoning.parser.value}"
        _check_markers(tokenizer, reasoning.markers, by_parser, budgeted=budgeted)
    for number, benchmark in enumerate(spec.benchmarks):
        _check_variables(f"spec.benchmarks[{number}]", spec, benchmark, tokenizer)


def _by_benchmark(spec: EvalRunSpec, loaded: LoadedBenchmarks) -> Iterator[tuple[str, Benchmark, Sequence[LeafTask]]]:
    leaves = loaded.by_benchmark()
    for number, benchmark in enumerate(spec.benchmarks):
        yield f"spec.benchmarks[{number}]", benchmark, leaves.get(benchmark.resolved_name, ())


def _check_arguments(where: str, thinking: Thinking, arguments: Mapping[str, Any]) -> None:
    if arguments.get("skip_special_tokens"):
        raise InputError(
            f"{where}: skip_special_tokens is true, which may hide {thinking.markers.end!r}, so that thinking could "
            "not be told from the answer; expected false or none"
        )
    name = length_argument(arguments)
    given = str(DEFAULT_MAX_GEN_TOKS if name is None else arguments[name])
    if not given.isdecimal():
        return  # the check of generation arguments says what is wrong with it
    length = int(given)
    if thinking.budget is not None and thinking.budget >= length:
        raise InputError(
            f"{where}: a reasoning budget of {thinking.budget} tokens leaves nothing of the {length} that thinking and "
            f"answer may have together ({name or 'the default of max_gen_toks'}); expected a smaller budget\n"
            "hint: set generation.max_gen_toks to the budget and what an answer needs"
        )


def _check_markers(tokenizer: Tokenizer, markers: ThinkingMarkers, by_parser: str | None, *, budgeted: bool) -> None:
    codec = TextCodec(tokenizer)
    for field, text in (("endToken", markers.end), ("startToken", markers.start)):
        where = by_parser or f"{_ENGINE}.{field}"
        if text is None:
            if budgeted:
                raise InputError(
                    f"{_ENGINE}.startToken: it is not set, and a budget is counted from it; expected the text that "
                    "begins the thinking"
                )
        elif (field == "endToken" or budgeted) and not _is_known(codec, text):
            raise InputError(
                f"{where}: the model's tokenizer has no token {text!r}; expected {_expected(tokenizer, text)}\n"
                "hint: look for the end of the thinking in the model's chat template"
            )


def _is_known(codec: TextCodec, text: str) -> bool:
    """Return whether a text is one token, or holds one of those that were added to the vocabulary."""
    ids = codec.encode(text, special_tokens=False)
    if len(ids) == 1:
        return text.strip() in codec.tokenizer.decode(ids)
    # The token for unknown text is often an added one.
    return any(token in text and number in ids for token, number in codec.tokenizer.get_added_vocab().items())


def _expected(tokenizer: Tokenizer, text: str) -> str:
    known = tokenizer.get_added_vocab()
    if not known:
        return "a text that is one token; it has no added ones"
    near = difflib.get_close_matches(text, known, n=_MOST_TOKENS, cutoff=0.3)
    return f"one of its added tokens: {listed([repr(one) for one in near or sorted(known)], _MOST_TOKENS)}"


def _check_variables(where: str, spec: EvalRunSpec, benchmark: Benchmark, tokenizer: Tokenizer) -> None:
    effort, given = effort_of(spec, benchmark), benchmark.chat_template_args or {}
    if effort is not None and not benchmark.apply_chat_template:
        raise InputError(
            f"{where}: {_ENGINE}.effort is {effort.value}, which only a chat template reads, and this benchmark "
            f"applies none\nhint: {where}.applyChatTemplate: true"
        )
    if effort is not None and EFFORT_VARIABLE in given:
        raise InputError(
            f"{where}.chatTemplateArgs.{EFFORT_VARIABLE}: the effort of reasoning is given twice, there as "
            f"{effort.value}; expected one of them"
        )
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", str(tokenizer.chat_template)))
    wanted = {f"{where}.chatTemplateArgs.{name}": name for name in given}
    if effort is not None:
        wanted[f"{where}: the effort of reasoning"] = EFFORT_VARIABLE
    for field, name in wanted.items():
        if name not in words:
            near = difflib.get_close_matches(name, words, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}?" if near else "leave it out: it would change nothing"
            raise InputError(
                f"{field}: the model's chat template reads no variable {name}; expected one that it reads\nhint: {hint}"
            )
