"""Find the turns of a conversation that a chat template drops.

Templates without a system role raise on a system turn, which is then left out as in lm-eval, or pass over it without a
word. What a template does depends on the roles in a conversation, not on the documents: each kind of conversation that
a benchmark makes is rendered once, with a probe for each text, before anything is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2

from evalrun_api import RunWarning
from evalrun_runner.benchmarks.build import chat_for
from evalrun_runner.benchmarks.chat import ASSISTANT, PROBES, SYSTEM, USER, ChatTemplate, ModelChat
from evalrun_runner.benchmarks.checks.wording import leaf_names
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError, first_line

_EXAMPLE, _ANSWER, _PREFIX = "probetextofexample", "probetextofanswer", "probetextofprefix"


@dataclass(frozen=True, slots=True)
class _Shape:
    """Kind of conversation: which turns there are besides the question's."""

    system: bool
    examples: bool
    prefix: bool


def check_turns(loaded: LoadedBenchmarks, chat: ChatTemplate | None) -> Iterator[RunWarning]:
    """Warn of turns that the chat template drops.

    Args:
        loaded: The run's leaf tasks.
        chat: The model's chat template, if a benchmark applies one.

    Raises:
        InputError: The template drops the question, or cannot render a conversation that a benchmark makes.
    """
    if chat is None:
        return
    if isinstance(chat, ModelChat) and chat.parts:
        yield RunWarning(
            about="spec.model",
            message=f"its chat template renders the text of {', '.join(sorted(chat.parts))} turns only from lists "
            "of parts, and gets them; lm-eval gives it plain text, which it drops: scores differ from lm-eval's",
        )
    for leaves in loaded.by_benchmark().values():
        applied = chat_for(leaves[0].benchmark, chat)
        if applied is not None:
            yield from _dropped(leaves, applied)


def _dropped(leaves: Sequence[LeafTask], chat: ChatTemplate) -> Iterator[RunWarning]:
    spec = leaves[0].benchmark
    shapes: dict[_Shape, list[LeafTask]] = {}
    for leaf in leaves:
        if leaf.task.get_config("output_type") != "loglikelihood_rolling":  # its requests have no prompt
            shapes.setdefault(_shape_of(leaf), []).append(leaf)
    lost: dict[str, list[LeafTask]] = {}
    for shape, alike in shapes.items():
        for text in _lost(shape, chat, spec):
            lost.setdefault(text, []).extend(alike)
    if PROBES[SYSTEM] in lost:
        yield RunWarning(about=spec.name, message=_no_system(spec, lost[PROBES[SYSTEM]]))
    elif spec.system_instruction and not _verbatim(spec.system_instruction, chat):
        yield RunWarning(
            about=spec.name,
            message="systemInstruction is not in the prompts as it stands: the chat template changes it",
        )
    if _EXAMPLE in lost or _ANSWER in lost:
        tasks = leaf_names(lost.get(_EXAMPLE) or lost[_ANSWER])
        yield RunWarning(
            about=spec.name,
            message=f"the chat template drops the turns of few-shot examples ({tasks}); "
            "hint: fewshotAsMultiturn: false puts the examples into the question's turn",
        )
    if _PREFIX in lost:
        yield RunWarning(
            about=spec.name,
            message=f"the chat template drops the beginning of the answer, gen_prefix ({leaf_names(lost[_PREFIX])})",
        )


def _shape_of(leaf: LeafTask) -> _Shape:
    spec, setting = leaf.benchmark, leaf.task.get_config
    return _Shape(
        system=bool(spec.system_instruction or setting("description")),
        examples=bool(spec.fewshot_as_multiturn and setting("num_fewshot")),
        prefix=bool(setting("gen_prefix")),
    )


def _lost(shape: _Shape, chat: ChatTemplate, spec: BenchmarkSpec) -> list[str]:
    """Return the probes of a kind of conversation that the template drops."""
    messages = [{"role": SYSTEM, "content": PROBES[SYSTEM]}] if shape.system else []
    if shape.examples:
        messages += [{"role": USER, "content": _EXAMPLE}, {"role": ASSISTANT, "content": _ANSWER}]
    messages.append({"role": USER, "content": PROBES[USER]})
    if shape.prefix:
        messages.append({"role": ASSISTANT, "content": _PREFIX})
    roles = ", ".join(message["role"] for message in messages)
    where = f"benchmark {spec.name!r}: the chat template"
    try:
        text = chat(messages, add_generation_prompt=not shape.prefix)
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        raise InputError(f"{where} cannot render a conversation of the turns {roles}: {first_line(error)}") from error
    lost = [message["content"] for message in messages if message["content"] not in text]
    if PROBES[USER] in lost:
        raise InputError(f"{where} drops the question from a conversation of the turns {roles}")
    return lost


def _verbatim(instruction: str, chat: ChatTemplate) -> bool:
    """Return whether a system instruction is in a prompt, but for white space."""
    messages = [{"role": SYSTEM, "content": instruction}, {"role": USER, "content": PROBES[USER]}]
    return "".join(instruction.split()) in "".join(chat(messages).split())


def _no_system(spec: BenchmarkSpec, leaves: Sequence[LeafTask]) -> str:
    described = [leaf for leaf in leaves if leaf.task.get_config("description")]
    what = ["systemInstruction"] if spec.system_instruction else []
    what += [f"the description of {leaf_names(described)}"] if described else []
    return (
        f"{' and '.join(what)} {'are' if len(what) > 1 else 'is'} in no prompt: the chat template drops the system "
        "turn, as it does in lm-eval; hint: systemInstructionIn: firstUserTurn puts the text before the first question"
    )
