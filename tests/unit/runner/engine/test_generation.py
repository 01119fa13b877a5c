"""Generation arguments: lm-eval's own reading of them for vLLM, but for what the module says."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.models.utils import postprocess_generated_text

from evalrun_runner.engine.generation import (
    BadArgument,
    Generation,
    UnknownArgument,
    cut_at_stops,
    parse_generation,
)
from support.harness import vllm_back_end

VLLM = vllm_back_end()
VLLM_TEMPERATURE = 1.0
"""SamplingParams' default, where lm-eval hands none on."""


def lm_eval_reads(arguments: dict[str, Any], eos: str | None) -> Generation:
    kwargs, until, length = VLLM.modify_gen_kwargs(deepcopy(arguments), eos=eos)
    temperature = kwargs.pop("temperature", VLLM_TEMPERATURE)
    return Generation(length, float(temperature), tuple(term for term in until if term), kwargs)


@pytest.mark.parametrize("eos", ["</s>", None])
@pytest.mark.parametrize(
    "arguments",
    [
        {"until": ["\n\n"], "do_sample": False},
        {"until": "\n", "temperature": 0.0},
        {"until": [], "temperature": 0.7},
        {"until": ["</s>", "Q:"], "temperature": 0.0},
        {"until": ["", "Q:"], "do_sample": False},
        {"do_sample": False, "temperature": 0.8},
        {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 40},
        {"do_sample": True},
        {"do_sample": True, "temperature": 0.0},
        {"do_sample": None, "temperature": 0.5},
        {"temperature": 0, "max_gen_toks": 32},
        {"temperature": 0, "max_gen_toks": "64"},
        {"temperature": 0, "max_new_tokens": 7, "max_tokens": 8},
        {"temperature": 0, "max_tokens": 8, "max_completion_tokens": 9},
        {"temperature": 0, "max_gen_toks": None, "max_completion_tokens": 9},
        {"temperature": 0, "skip_special_tokens": True, "min_tokens": 3, "stop_token_ids": [5]},
    ],
    ids=str,
)
def test_arguments_mean_what_they_mean_to_lm_eval(arguments: dict[str, Any], eos: str | None) -> None:
    before = deepcopy(arguments)
    assert parse_generation(arguments, eos) == lm_eval_reads(arguments, eos)
    assert arguments == before


@given(
    st.fixed_dictionaries(
        {"temperature": st.floats(0, 2)},
        optional={
            "until": st.one_of(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=4)),
            "do_sample": st.sampled_from([True, False, None]),
            "max_gen_toks": st.integers(1, 4096),
            "max_new_tokens": st.none() | st.integers(1, 4096),
            "max_tokens": st.integers(1, 4096),
            "max_completion_tokens": st.integers(1, 4096),
            "top_p": st.floats(0.1, 1),
            "spaces_between_special_tokens": st.booleans(),
        },
    ),
    st.none() | st.text(max_size=4),
)
@pytest.mark.filterwarnings("ignore")  # lm-eval warns of arguments that contradict each other
def test_any_arguments_mean_what_they_mean_to_lm_eval(arguments: dict[str, Any], eos: str | None) -> None:
    assert parse_generation(arguments, eos) == lm_eval_reads(arguments, eos)


@pytest.mark.parametrize("arguments", [{}, {"until": ["\n"]}, {"do_sample": None}])
def test_decoding_is_greedy_by_default_where_lm_evals_vllm_samples(arguments: dict[str, Any]) -> None:
    assert parse_generation(arguments, None).temperature == 0.0
    assert lm_eval_reads(arguments, None).temperature == VLLM_TEMPERATURE


def test_an_unknown_argument_is_refused_by_name_where_lm_eval_passes_it_on() -> None:
    with pytest.raises(
        UnknownArgument, match=r"'max_length', 'stop'; did you mean max_gen_toks, until\? Allowed are .*top_p"
    ):
        parse_generation({"until": [], "stop": ["."], "max_length": 9}, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"until": 5}, "until is 5; expected a text or a list of texts"),
        ({"max_gen_toks": "many"}, "max_gen_toks is 'many'; expected a whole number, 1 or more"),
        ({"max_tokens": 0}, "max_tokens is 0; expected a whole number, 1 or more"),
        ({"max_new_tokens": float("inf")}, "max_new_tokens is inf; expected a whole number, 1 or more"),
        ({"temperature": "hot"}, "temperature is 'hot'; expected a number"),
        ({"temperature": [1]}, r"temperature is \[1\]; expected a number"),
        ({"until": [["a"]]}, r"until is \[\['a'\]\]; expected a text or a list of texts"),
        ({"do_sample": "False", "temperature": 0.5}, "do_sample is 'False'; expected true or false"),
        ({"do_sample": False, "temperature": "hot"}, "temperature is 'hot'; expected a number"),
        ({"temperature": True}, "temperature is True; expected a number"),
        ({"max_gen_toks": True}, "max_gen_toks is True; expected a whole number"),
        ({"max_gen_toks": 16.7}, "max_gen_toks is 16.7; expected a whole number"),
        ({"ignore_eos": "no"}, "ignore_eos is 'no'; expected true or false"),
        ({"stop_token_ids": ["a"]}, r"stop_token_ids is \['a'\]; expected a list of whole numbers"),
        ({"stop_token_ids": 5}, "stop_token_ids is 5; expected a list of whole numbers"),
        ({"bad_words": "no"}, "bad_words is 'no'; expected a list of texts"),
    ],
)
def test_an_invalid_value_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        parse_generation(arguments, None)


@given(st.text("ab\n.", max_size=30), st.lists(st.text("ab\n.", min_size=1, max_size=3), max_size=4))
def test_answers_are_cut_where_lm_eval_cuts_them(text: str, stops: list[str]) -> None:
    assert cut_at_stops(text, tuple(stops)) == postprocess_generated_text(text, stops, None)
