"""Find settings of a benchmark that have no effect on its tasks: nobody may compare scores in the belief that they had.

What contradicts itself is refused by the rules of the spec. Here is what only the tasks can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalrun_api import Benchmark, RunWarning
from evalrun_runner.benchmarks.checks.wording import leaf_names
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.engine.generation import BadArgument, parse_generation

GENERATES, ROLLING = "generate_until", "loglikelihood_rolling"
NEUTRAL = {"temperature": (0,), "top_p": (1,), "top_k": (0, -1), "min_p": (0,)}
"""Arguments that only change sampling, each with the values that change nothing."""


def check_wishes(benchmarks: Sequence[Benchmark], loaded: LoadedBenchmarks) -> Iterator[RunWarning]:
    """Warn of settings without effect, in the order of the benchmarks.

    Args:
        benchmarks: The benchmarks as the spec has them.
        loaded: Their leaf tasks.
    """
    leaves = loaded.by_benchmark()
    for benchmark in benchmarks:
        name = benchmark.resolved_name
        for message in _messages(benchmark, leaves.get(name, ())):
            yield RunWarning(about=name, message=message)


def _messages(benchmark: Benchmark, leaves: Sequence[LeafTask]) -> Iterator[str]:
    if not leaves:
        return
    prompted = [leaf for leaf in leaves if leaf.task.get_config("output_type") != ROLLING]
    if not prompted:
        yield from _unprompted(benchmark)
    else:
        yield from _examples(benchmark, prompted)
        yield from _system(benchmark, prompted)
    yield from _generation(benchmark, leaves)


def _unprompted(benchmark: Benchmark) -> Iterator[str]:
    """Name what has no effect where texts are scored as a whole: there is no prompt."""
    given = {
        "numFewshot": benchmark.num_fewshot,
        "applyChatTemplate": benchmark.apply_chat_template,
        "systemInstruction": benchmark.system_instruction,
        "fewshotAsMultiturn": benchmark.fewshot_as_multiturn,
        "systemInstructionIn": benchmark.system_instruction_in,
    }
    if wishes := [field for field, value in given.items() if value]:
        verb = "have" if len(wishes) > 1 else "has"
        yield f"{', '.join(wishes)} {verb} no effect: its tasks score whole texts ({ROLLING}), without a prompt"


def _examples(benchmark: Benchmark, leaves: Sequence[LeafTask]) -> Iterator[str]:
    kept = [leaf for leaf in leaves if not leaf.task.get_config("num_fewshot")]
    if benchmark.num_fewshot and kept:
        yield (
            f"numFewshot: {benchmark.num_fewshot} has no effect on {leaf_names(kept)}: "
            f"{'it sets' if len(kept) == 1 else 'they set'} num_fewshot: 0, which stays, as in lm-eval"
        )
    if benchmark.fewshot_as_multiturn is not None and benchmark.apply_chat_template and len(kept) == len(leaves):
        yield "fewshotAsMultiturn has no effect: there are no few-shot examples"


def _system(benchmark: Benchmark, leaves: Sequence[LeafTask]) -> Iterator[str]:
    described = any(leaf.task.get_config("description") for leaf in leaves)
    if benchmark.system_instruction and not benchmark.apply_chat_template:
        yield (
            "systemInstruction stands as plain text before every prompt, as in lm-eval: a system turn needs "
            "applyChatTemplate: true"
        )
    if benchmark.system_instruction_in is not None and not benchmark.system_instruction and not described:
        yield "systemInstructionIn has no effect: there is neither a systemInstruction nor a description of a task"


def _generation(benchmark: Benchmark, leaves: Sequence[LeafTask]) -> Iterator[str]:
    generating = [leaf for leaf in leaves if leaf.task.get_config("output_type") == GENERATES]
    if benchmark.generation is not None and not generating:
        types = sorted({str(leaf.task.get_config("output_type")) for leaf in leaves})
        yield f"generation has no effect: its tasks generate nothing ({', '.join(types)})"
    found: dict[str, list[LeafTask]] = {}
    for leaf in generating:
        if message := greedy_remark(leaf.task.get_config("generation_kwargs") or {}):
            found.setdefault(message, []).append(leaf)
    for message, alike in found.items():
        yield f"{message} ({leaf_names(alike)})"


def greedy_remark(arguments: Mapping[str, Any]) -> str | None:
    """Say which generation arguments have no effect because answers are greedy; None where there are none.

    Args:
        arguments: A task's generation arguments, the benchmark's overrides among them.
    """
    try:
        if parse_generation(arguments, None).temperature > 0:
            return None
    except BadArgument:
        return None  # refused by a check of its own
    sampling = [
        f"{name}: {arguments[name]}"
        for name, neutral in NEUTRAL.items()
        if arguments.get(name) is not None and arguments[name] not in neutral
    ]
    sample = arguments.get("do_sample")
    if sample is True:
        sampling.insert(0, "do_sample: true")
        why = "temperature: 0"
    elif sample is False:
        why = "do_sample: false"
    else:
        why = "temperature: 0" if arguments.get("temperature") is not None else "neither temperature nor do_sample"
    if not sampling:
        return None
    verb = "have" if len(sampling) > 1 else "has"
    hint = "set a temperature above 0" if sample is not False else "set generation.do_sample: true"
    return f"{', '.join(sampling)} {verb} no effect: answers are greedy, because of {why}; hint: {hint}"
