"""Request plans against lm-eval's own functions, without an engine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evalrun_runner.engine.generation import cut_at_stops, parse_generation
from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.protocol import MAX_CHOICES, Output
from evalrun_runner.engine.requests import RequestPlanner, rolling_windows
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.records.plan import Item, Request, RequestType
from support.builders import likelihood, make_item

EOS = "<|im_end|>"
VLLM_DEFAULT_TEMPERATURE = 1.0


@given(tokens=st.lists(st.integers(0, 9), max_size=60), size=st.integers(1, 20))
def test_rolling_windows_are_lm_evals(tokens: list[int], size: int) -> None:
    theirs = [make_disjoint_window(pair) for pair in get_rolling_token_windows(tokens, 99, size, 1)]
    assert rolling_windows(tokens, 99, size) == theirs


def as_lm_eval(arguments: dict[str, Any]) -> tuple[int, float, list[str], dict[str, Any]]:
    """``VLLM.modify_gen_kwargs``, and the temperature that vLLM makes of what it leaves out."""
    kwargs: dict[str, Any] = dict(normalize_gen_kwargs(arguments, default_max_gen_toks=256))
    until = handle_stop_sequences(kwargs.pop("until", None), eos=EOS)
    length = int(kwargs.pop("max_gen_toks", 256))
    kwargs.pop("do_sample", None)
    temperature = kwargs.pop("temperature", VLLM_DEFAULT_TEMPERATURE)
    return length, temperature, until, {"skip_special_tokens": False, "spaces_between_special_tokens": False} | kwargs


lengths = st.one_of(st.none(), st.integers(1, 500))
optional = {
    "max_gen_toks": lengths,
    "max_new_tokens": lengths,
    "max_tokens": lengths,
    "do_sample": st.booleans(),
    "temperature": st.sampled_from([0, 0.0, 0.6, 1.0]),
    "top_p": st.sampled_from([0.5, 0.95]),
    "skip_special_tokens": st.booleans(),
}
stops = st.lists(st.sampled_from(["\n", "\n\n", "Q:", EOS, "</s>"]), max_size=3, unique=True)


@given(
    arguments=st.fixed_dictionaries({}, optional=optional),
    until=st.one_of(st.none(), st.sampled_from(["\n", "Q:"]), stops),
)
@settings(deadline=None)
def test_generation_arguments_are_read_as_by_lm_eval(arguments: dict[str, Any], until: Any) -> None:
    arguments = arguments if until is None else {**arguments, "until": until}
    length, temperature, stop, options = as_lm_eval(arguments)

    ours = parse_generation(arguments, EOS)

    assert (ours.max_tokens, list(ours.stop), ours.options) == (length, stop, options)
    if "do_sample" in arguments or "temperature" in arguments:
        assert ours.temperature == temperature
    else:
        assert (ours.temperature, temperature) == (0.0, VLLM_DEFAULT_TEMPERATURE)


@given(text=st.text(alphabet="ab\nQ:", max_size=40), until=st.lists(st.sampled_from(["\n", "Q:", "ab"]), max_size=3))
def test_answers_are_cut_as_by_lm_eval(text: str, until: list[str]) -> None:
    assert cut_at_stops(text, tuple(until)) == postprocess_generated_text(text, until, None)


def choices_item(count: int) -> Item:
    return make_item(*(likelihood("Which?", chr(33 + n % 90), index=n) for n in range(count)), task="letters")


def fast_planner() -> RequestPlanner:
    return RequestPlanner(TextCodec(ByteTokenizer()), max_model_len=100, fast=True, seed=1)


def test_more_choices_than_a_call_allows_become_several_calls() -> None:
    plan = fast_planner().plan(choices_item(MAX_CHOICES + 60))

    assert [len(call.choices) for call in plan.calls] == [90, 60]  # each token once in a call
    outputs = [
        Output("", "length", 6, 1, top_logprob=0.0, choice_logprobs=dict.fromkeys(call.choices, -1.0))
        for call in plan.calls
    ]
    assert len(plan.responses(outputs, [0.1, 0.1])) == MAX_CHOICES + 60


@pytest.mark.parametrize(("top", "greedy"), [(-1.0, (True, True, False)), (-0.5, (False, False, False))])
def test_every_choice_that_no_token_beats_is_greedy(top: float, greedy: tuple[bool, ...]) -> None:
    plan = fast_planner().plan(choices_item(3))
    logprobs = dict(zip(plan.calls[0].choices, (-1.0, -1.0, -2.0), strict=True))

    responses = plan.responses([Output("", "length", 6, 1, top_logprob=top, choice_logprobs=logprobs)], [0.1])

    assert [response.value for (response,) in responses] == list(zip((-1.0, -1.0, -2.0), greedy, strict=True))


def test_fast_numerics_change_only_calls_for_single_token_choices_and_greedy_repeats() -> None:
    greedy = {"until": ["\n"], "do_sample": False, "max_gen_toks": 8}
    requests = [
        (RequestType.GENERATE_UNTIL, ("Why?", greedy), 1),
        (RequestType.GENERATE_UNTIL, ("Why?", {**greedy, "do_sample": True, "temperature": 0.7}), 3),
        (RequestType.LOGLIKELIHOOD_ROLLING, ("A text of more than one window. " * 9,), 1),
        (RequestType.LOGLIKELIHOOD, ("Which?", " the second"), 1),
    ]
    item = make_item(*(Request(kind, n, said, times) for n, (kind, said, times) in enumerate(requests)))
    codec = TextCodec(ByteTokenizer())

    fast, reference = (
        RequestPlanner(codec, max_model_len=100, fast=fast, seed=1).plan(item).calls for fast in (True, False)
    )

    assert fast == reference
