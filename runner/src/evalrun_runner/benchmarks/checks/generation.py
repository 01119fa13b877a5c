"""Generation arguments of every leaf task, read by the engine's own reader, and their budget of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evalrun_runner.benchmarks.checks.objections import Objection, is_own
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.engine.generation import (
    BadArgument,
    Generation,
    length_argument,
    length_arguments,
    parse_generation,
)


@dataclass(frozen=True, slots=True)
class ContextLimit:
    """Largest number of tokens of prompt and answer together."""

    tokens: int
    source: str
    """What sets it, for messages."""


def check_generation(loaded: LoadedBenchmarks, limit: ContextLimit | None) -> Iterator[Objection]:
    """Find generation arguments that the engine would refuse for every item.

    Args:
        loaded: The run's leaf tasks.
        limit: The engine's context; None where it is not known before the engine is loaded.
    """
    for leaf in loaded.leaves:
        if leaf.task.get_config("output_type") != "generate_until":
            continue
        try:
            wanted = parse_generation(leaf.task.get_config("generation_kwargs") or {}, None)
        except BadArgument as error:
            yield Objection(leaf.name, f"generation_kwargs: {error}", _hint(leaf))
            continue
        yield from _second_length(leaf)
        if limit is not None and wanted.max_tokens >= limit.tokens:
            yield _over_budget(leaf, wanted, limit)


def _hint(leaf: LeafTask) -> str:
    what = f"benchmark {leaf.benchmark.name}: `generation:` overrides a task's arguments, and drops one with null"
    return what if is_own(leaf) else f"change it in the suite; or {what}"


def _second_length(leaf: LeafTask) -> Iterator[Objection]:
    """Find a length that another one overrides; that of the benchmark itself is meant to."""
    arguments = leaf.task.get_config("generation_kwargs") or {}
    first, *others = length_arguments(arguments) or ("",)
    for other in others:
        if arguments[other] != arguments[first] and first not in leaf.benchmark.generation and not is_own(leaf):
            what = f"generation_kwargs: {other}: {arguments[other]} has no effect beside {first}: {arguments[first]}"
            yield Objection(leaf.name, what, "keep one of them", refused=False)


def _over_budget(leaf: LeafTask, wanted: Generation, limit: ContextLimit) -> Objection:
    name = length_argument(leaf.task.get_config("generation_kwargs") or {})
    return Objection(
        leaf.name,
        f"an answer may have {wanted.max_tokens:,} tokens ({name or 'the default of lm-eval'}), and prompt and answer "
        f"together have at most {limit.tokens:,} ({limit.source}): no item fits",
        f"set generation.max_gen_toks of benchmark {leaf.benchmark.name} below {limit.tokens:,}, or raise "
        "spec.engine.vllm.maxModelLen if the model can have more",
    )
