"""Generation arguments of a task, interpreted as lm-eval 0.4.13 does for vLLM.

Source: ``normalize_gen_kwargs`` and ``handle_stop_sequences`` (lm_eval/models/utils.py), ``VLLM.modify_gen_kwargs``.

One difference is intentional: if neither ``do_sample`` nor ``temperature`` is given, lm-eval's documentation promises
greedy decoding, but its vLLM back end keeps vLLM's default temperature of 1.0. Here decoding is greedy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_MAX_GEN_TOKS = 256

_LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the maximum length, in order of priority."""

_READ_HERE = frozenset({"until", "do_sample", "temperature", *_LENGTH_NAMES})

SAMPLING_OPTIONS = frozenset(
    {
        "top_p",
        "top_k",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "min_tokens",
        "ignore_eos",
        "stop_token_ids",
        "bad_words",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "include_stop_str_in_output",
    }
)
"""Names of vLLM's SamplingParams that a task may set."""


class BadArgument(ValueError):
    """Generation argument whose value is not valid."""

    code = "BadGenerationArgument"


class UnknownArgument(BadArgument):
    """Generation argument that neither lm-eval nor vLLM's sampling knows."""

    code = "UnknownGenerationArgument"


@dataclass(frozen=True, slots=True)
class Generation:
    """Normalized generation arguments."""

    max_tokens: int
    temperature: float
    stop: tuple[str, ...]
    options: Mapping[str, Any]


def parse_generation(arguments: Mapping[str, Any], eos_text: str | None) -> Generation:
    """Normalize a request's generation arguments.

    Args:
        arguments: The request's arguments by lm-eval's names.
        eos_text: The end-of-sequence text to add to the stop sequences, if the model has one.

    Raises:
        BadArgument: An argument is unknown or its value is invalid; the message names it.
    """
    unknown = sorted(set(arguments) - _READ_HERE - SAMPLING_OPTIONS)
    if unknown:
        raise UnknownArgument(
            f"unknown generation argument {', '.join(map(repr, unknown))}; allowed are "
            f"{', '.join(sorted(_READ_HERE | SAMPLING_OPTIONS))}"
        )
    until = arguments.get("until") or []
    if not isinstance(until, str | list | tuple):
        raise BadArgument(f"until is {until!r}; expected a text or a list of texts")
    stop = [until] if isinstance(until, str) else [str(term) for term in until]
    if eos_text and eos_text not in stop:
        stop.append(eos_text)
    given = next((name for name in _LENGTH_NAMES if arguments.get(name) is not None), None)
    length = DEFAULT_MAX_GEN_TOKS if given is None else int(_number(arguments, given))
    if length < 1:
        raise BadArgument(f"{given} is {length}; expected at least 1")
    if arguments.get("do_sample") is False:
        temperature = 0.0
    elif arguments.get("temperature") is None:
        # Sampling without a temperature gets vLLM's default, as in lm-eval.
        temperature = 1.0 if arguments.get("do_sample") is True else 0.0
    else:
        temperature = _number(arguments, "temperature")
    options = {"skip_special_tokens": False, "spaces_between_special_tokens": False}
    options |= {name: value for name, value in arguments.items() if name in SAMPLING_OPTIONS}
    return Generation(length, temperature, tuple(term for term in stop if term), options)


def _number(arguments: Mapping[str, Any], name: str) -> float:
    try:
        number = float(arguments[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadArgument(f"{name} is {arguments[name]!r}; expected a number")
    return number


def cut_at_stops(text: str, stops: tuple[str, ...]) -> str:
    """Return the text before the first occurrence of any stop sequence (``postprocess_generated_text``)."""
    for term in stops:
        text = text.split(term, maxsplit=1)[0]
    return text
