"""Generation arguments of a task, interpreted as lm-eval 0.4.13 does for vLLM.

Source: ``normalize_gen_kwargs`` and ``handle_stop_sequences`` (lm_eval/models/utils.py), ``VLLM.modify_gen_kwargs``.

One difference is intentional: if neither ``do_sample`` nor ``temperature`` is given, lm-eval's documentation promises
greedy decoding, but its vLLM back end keeps vLLM's default temperature of 1.0. Here decoding is greedy.
"""

from __future__ import annotations

import difflib
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

_OTHER_ENGINES = {"num_beams": 1, "num_return_sequences": 1}
"""Arguments of other engines that tasks carry along, with the only value that asks for nothing."""

_OWN_NAMES = {
    **{"stop": "until", "stop_sequences": "until", "stop_strings": "until", "eos_string": "until"},
    **{"max_length": "max_gen_toks", "max_generated_tokens": "max_gen_toks", "length": "max_gen_toks"},
    **{"eos_token_id": "stop_token_ids", "n": "the task's repeats"},
}
"""Names that other engines have for what is allowed here."""


@dataclass(frozen=True, slots=True)
class _Range:
    """Numbers that vLLM's sampling accepts."""

    text: str
    low: float
    high: float = math.inf
    open: bool = False
    """Whether the lowest number itself is refused."""
    whole: bool = False

    def holds(self, value: object) -> bool:
        """Return whether a value is a number in the range."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return math.isfinite(value) and self.low <= value <= self.high and not (self.open and value == self.low)


_RANGES = {
    "top_p": _Range("a number above 0, at most 1", 0, 1, open=True),
    "top_k": _Range("a whole number, 0 or -1 for all tokens", -1, whole=True),
    "min_p": _Range("a number from 0 to 1", 0, 1),
    "presence_penalty": _Range("a number from -2 to 2", -2, 2),
    "frequency_penalty": _Range("a number from -2 to 2", -2, 2),
    "repetition_penalty": _Range("a number above 0", 0, open=True),
    "min_tokens": _Range("a whole number, 0 or more", 0, whole=True),
}
_TEMPERATURE = _Range("a number from 0 to 2", 0, 2)
_LENGTH = _Range("a whole number, 1 or more", 1, whole=True)
_TOKEN_ID = _Range("a whole number, 0 or more", 0, whole=True)
_SWITCHES = ("ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output")


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
    arguments = {name: value for name, value in arguments.items() if value is not None}
    _check_names(arguments)
    stop = _stops(arguments.get("until", ()))
    if eos_text and eos_text not in stop:
        stop.append(eos_text)
    given = length_argument(arguments)
    length = DEFAULT_MAX_GEN_TOKS if given is None else _length(given, arguments[given])
    options = {"skip_special_tokens": False, "spaces_between_special_tokens": False}
    options |= {name: value for name, value in arguments.items() if name in SAMPLING_OPTIONS}
    _check_options(options, length)
    return Generation(length, _temperature(arguments), tuple(term for term in stop if term), options)


def length_arguments(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the arguments that bound an answer's length; the first is the one that counts."""
    return tuple(name for name in _LENGTH_NAMES if arguments.get(name) is not None)


def length_argument(arguments: Mapping[str, Any]) -> str | None:
    """Return the name of the argument that bounds an answer's length, or None where none is set."""
    return next(iter(length_arguments(arguments)), None)


def _check_names(arguments: Mapping[str, Any]) -> None:
    for name, nothing in _OTHER_ENGINES.items():
        if arguments.get(name, nothing) != nothing:
            raise BadArgument(
                f"{name} is {arguments[name]!r}, and there is one way of decoding here, token by token; expected "
                f"{nothing}, or none at all"
            )
    known = _READ_HERE | SAMPLING_OPTIONS
    unknown = sorted(set(arguments) - known - set(_OTHER_ENGINES))
    if unknown:
        near = [
            _OWN_NAMES.get(name) or next(iter(difflib.get_close_matches(name, known, n=1)), None) for name in unknown
        ]
        meant = ", ".join(dict.fromkeys(name for name in near if name))
        raise UnknownArgument(
            f"unknown generation argument {', '.join(map(repr, unknown))}; {f'did you mean {meant}? ' if meant else ''}"
            f"Allowed are {', '.join(sorted(known))}"
        )


def _stops(until: object) -> list[str]:
    terms = [until] if isinstance(until, str) else until
    if not isinstance(terms, list | tuple) or not all(isinstance(term, str) for term in terms):
        raise BadArgument(f"until is {until!r}; expected a text or a list of texts")
    return list(terms)


def _length(name: str, value: object) -> int:
    # Digits in quotes mean one thing only, and lm-eval reads them.
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if not isinstance(number, int) or not _LENGTH.holds(number):
        raise BadArgument(f"{name} is {value!r}; expected {_LENGTH.text}")
    return number


def _check_options(options: Mapping[str, Any], length: int) -> None:
    for name, allowed in _RANGES.items():
        if name in options and not allowed.holds(options[name]):
            raise BadArgument(f"{name} is {options[name]!r}; expected {allowed.text}")
    for name in _SWITCHES:
        if not isinstance(options.get(name, False), bool):
            raise BadArgument(f"{name} is {options[name]!r}; expected true or false")
    ids = options.get("stop_token_ids", [])
    if not isinstance(ids, list) or not all(_TOKEN_ID.holds(one) for one in ids):
        raise BadArgument(f"stop_token_ids is {ids!r}; expected a list of whole numbers, 0 or more")
    words = options.get("bad_words", [])
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise BadArgument(f"bad_words is {words!r}; expected a list of texts")
    if options.get("min_tokens", 0) > length:
        raise BadArgument(f"min_tokens is {options['min_tokens']}; expected at most {length}, the maximum of an answer")


def _temperature(arguments: Mapping[str, Any]) -> float:
    sample = arguments.get("do_sample")
    if sample is not None and not isinstance(sample, bool):
        raise BadArgument(f"do_sample is {sample!r}; expected true or false")
    temperature = arguments.get("temperature")
    if temperature is not None and not _TEMPERATURE.holds(temperature):
        raise BadArgument(f"temperature is {temperature!r}; expected {_TEMPERATURE.text}")
    if sample is False:
        return 0.0
    if temperature is None:
        # Sampling without a temperature gets vLLM's default, as in lm-eval.
        return 1.0 if sample else 0.0
    return float(temperature)


def cut_at_stops(text: str, stops: tuple[str, ...]) -> str:
    """Return the text before the first occurrence of any stop sequence (``postprocess_generated_text``)."""
    for term in stops:
        text = text.split(term, maxsplit=1)[0]
    return text
