"""Thinking is cut from answers where lm-eval cuts it, and is kept, counted and limited."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lm_eval.models.utils import postprocess_generated_text

from evalrun_api import ReasoningParser, ThinkingMarkers
from evalrun_runner.engine.mock import ByteTokenizer
from evalrun_runner.engine.protocol import Call, Output
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.thinking import Thinking, cut_thought, is_opened
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.records.answers import answer_of, cut_thinking
from evalrun_runner.records.results import Answer, ItemStatus, Outcome, Response
from support.builders import generate, likelihood, make_item

THINK = ThinkingMarkers("</think>", "<think>")
CODEC = TextCodec(ByteTokenizer())
EOS_TEXT = CODEC.eos_text
ANSWERS = Answer.COMPLETE, Answer.TRUNCATED

pieces = st.sampled_from(["<think>", "</think>", "</thin", "k>", "\n\n", "\n", " ", "42", "Q:", "", "é", "<eos>"])
texts = st.lists(pieces, max_size=12).map("".join)
stops = st.lists(st.sampled_from(["\n\n", "Q:", "4", "<eos>", "k>"]), max_size=3)


def planner(thinking: Thinking | None = None) -> RequestPlanner:
    known = {} if thinking is None else {"t": thinking}
    return RequestPlanner(CODEC, max_model_len=10_000, fast=True, seed=1, thinking=known)


def output(text: str, reason: str = "stop", *, with_ids: bool = True) -> Output:
    ids = list(text.encode())
    return Output(text, reason, 7, len(ids), token_ids=ids if with_ids else ())


def asked(prompt: str = "1+1?", *, thinking: Thinking | None = None, **arguments: Any) -> Call:
    (call,) = planner(thinking or Thinking(THINK)).plan(make_item(generate(prompt, **arguments))).calls
    return call


def read(answer: Output, prompt: str = "1+1?", markers: ThinkingMarkers = THINK, **arguments: Any) -> Response:
    plan = planner(Thinking(markers)).plan(make_item(generate(prompt, **arguments)))
    ((response,),) = plan.responses([answer], [1.0])
    return response


class TestParity:
    """The same responses through lm-eval's own function and through ours."""

    @given(texts, stops, st.booleans())
    @example("no thinking at all", ["\n"], False)
    @example("<think>a</think>b<think>c", [], True)
    @example("a</think>b</think> \n c\n\nd", ["\n\n"], True)
    def test_the_answer_is_what_lm_eval_scores(self, text: str, until: list[str], opened: bool) -> None:
        prompt = "1+1?<think>" if opened else "1+1?"
        # As in lm-eval's vLLM back end, the end-of-sequence text is one of the stop sequences.
        everything = [*until, *([] if EOS_TEXT is None or EOS_TEXT in until else [EOS_TEXT])]
        assert read(output(text), prompt, until=until).value == postprocess_generated_text(text, everything, THINK.end)

    @given(texts, stops)
    def test_without_reasoning_nothing_is_cut(self, text: str, until: list[str]) -> None:
        plan = planner().plan(make_item(generate("1+1?", until=until)))
        ((response,),) = plan.responses([output(text)], [1.0])
        everything = [*until, *([] if EOS_TEXT is None or EOS_TEXT in until else [EOS_TEXT])]
        assert response.value == postprocess_generated_text(text, everything, None)
        assert (response.thought, response.thought_tokens, response.in_thought) == (None, 0, False)

    @given(texts, st.booleans())
    def test_nothing_of_a_text_is_lost_but_the_marker_and_white_space(self, text: str, opened: bool) -> None:
        cut = cut_thought(text, THINK, opened=opened)
        if cut.thought is None:
            assert cut.answer == text.lstrip()
        elif cut.in_thought:
            assert cut.thought == text
        else:
            assert (cut.thought + THINK.end + cut.answer).split() == text.split() or text.startswith(cut.thought)


class TestWhereAResponseEnds:
    """An answer that never left its thinking is truncated, one that did no thinking is not."""

    @pytest.mark.parametrize(
        ("text", "prompt", "reason", "answer"),
        [
            ("<think>2</think>\n\n4", "1+1?", "stop", Answer.COMPLETE),
            ("2</think>4", "1+1?<think>\n", "stop", Answer.COMPLETE),
            ("<think>it is 4, or is it", "1+1?", "length", Answer.TRUNCATED),
            ("it is 4, or is it", "1+1?<think>\n", "stop", Answer.TRUNCATED),
            ("<think>a</think>b<think>c", "1+1?", "stop", Answer.TRUNCATED),
            ("<think>2</think>it is fo", "1+1?", "length", Answer.TRUNCATED),
            ("<think>2</think>", "1+1?", "stop", Answer.EMPTY),
            ("4", "1+1?", "stop", Answer.COMPLETE),
            ("4", "1+1?<think>\n\n</think>\n\n", "stop", Answer.COMPLETE),
        ],
    )
    def test_kinds_of_answers(self, text: str, prompt: str, reason: str, answer: Answer) -> None:
        assert answer_of([[read(output(text, reason), prompt)]]) is answer

    def test_without_a_start_marker_every_text_begins_in_its_thinking(self) -> None:
        markers = ThinkingMarkers("### Answer")
        assert read(output("it is 4"), markers=markers).in_thought
        assert not read(output("so ### Answer 4"), markers=markers).in_thought

    def test_an_answer_that_went_on_beyond_its_stop_sequence_is_complete(self) -> None:
        response = read(output("<think>2</think>4\n\nQ: 2+2?", "length"), until=["\n\n"])
        assert (response.value, response.finish_reason) == ("4", "stop")
        assert answer_of([[response]]) is Answer.COMPLETE

    @pytest.mark.parametrize(
        ("text", "counts"), [("<think>so", True), ("<think>so</think>it is fo", True), ("it is fo", False)]
    )
    def test_only_cut_thinking_leaves_a_score_uncertain(self, text: str, counts: bool) -> None:
        responses = ((read(output(text, "length")),),)
        outcome = Outcome(ItemStatus.OK, responses, answer=answer_of(responses))
        assert outcome.answer is Answer.TRUNCATED
        assert cut_thinking(outcome) is counts


class TestThought:
    """The thought is kept, and its tokens are counted."""

    def test_text_and_tokens_of_a_thought_are_those_before_its_last_end(self) -> None:
        response = read(output("<think>ab</think>c</think> 4"))
        assert (response.thought, response.value) == ("<think>ab</think>c", "4")
        assert response.thought_tokens == len("<think>ab</think>c")
        assert response.output_tokens == len("<think>ab</think>c</think> 4")

    def test_tokens_are_counted_by_the_text_where_an_engine_does_not_tell_them(self) -> None:
        assert read(output("<think>ab</think> 4", with_ids=False)).thought_tokens == len("<think>ab")

    def test_all_tokens_are_of_a_thought_that_never_ends(self) -> None:
        response = read(output("<think>abc", "length"))
        assert (response.thought, response.thought_tokens) == ("<think>abc", len("<think>abc"))


class TestRequests:
    """What the engine is asked for."""

    def test_stop_sequences_hold_for_the_answer_only(self) -> None:
        assert asked(until=["\n\n", "Q:"]).stop == (EOS_TEXT,)
        assert asked(until=["\n\n"], thinking=Thinking(THINK, 5)).options["thinking_token_budget"] == 5
        assert "thinking_token_budget" not in asked().options

    def test_other_tasks_and_log_likelihoods_are_asked_as_ever(self) -> None:
        item = make_item(generate("1+1?", until=["\n"]), task="u")
        thinks = planner(Thinking(THINK, 5)).plan(item).calls
        assert thinks == planner().plan(item).calls
        chosen = make_item(likelihood("Answer:", "A"))
        assert planner(Thinking(THINK)).plan(chosen).calls == planner().plan(chosen).calls

    @given(texts)
    def test_a_prompt_is_open_if_its_last_thinking_is(self, prompt: str) -> None:
        assert is_opened(prompt + "<think>\n", THINK)
        assert not is_opened(prompt + "<think></think>", THINK)


def test_every_parser_has_two_markers() -> None:
    assert all(parser.markers.start and parser.markers.end for parser in ReasoningParser)
