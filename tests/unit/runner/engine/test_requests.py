"""Request plans: the calls of an item, and the assembly of responses from their outputs."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_runner.engine.mock import EOS, ByteTokenizer
from evalrun_runner.engine.protocol import MAX_CHOICES
from evalrun_runner.engine.requests import ItemRefused, RequestPlan, RequestPlanner
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import Response
from support.builders import generate, likelihood, make_item, rolling
from support.engines import answer_to

CODEC = TextCodec(ByteTokenizer())


def planner(*, fast: bool = True, limit: int = 1000, seed: int = 1) -> RequestPlanner:
    return RequestPlanner(CODEC, max_model_len=limit, fast=fast, seed=seed)


def answered(plan: RequestPlan) -> tuple[tuple[Response, ...], ...]:
    """The responses, if the engine answers each call by ``answer_to``; call n takes n seconds."""
    return plan.responses([answer_to(call) for call in plan.calls], [float(n) for n in range(len(plan.calls))])


def values(plan: RequestPlan) -> list[list[Any]]:
    return [[response.value for response in repeats] for repeats in answered(plan)]


def score(text: str) -> float:
    return -float(sum(text.encode()))


class TestChoices:
    """Log-likelihoods of continuations."""

    LETTERS = make_item(*(likelihood("Answer:", letter) for letter in "ABCD"))

    def test_single_token_choices_of_one_context_are_one_call_in_fast_numerics(self) -> None:
        plan = planner().plan(self.LETTERS)
        (call,) = plan.calls
        assert bytes(call.prompt) == b"Answer:"
        assert call.choices == tuple(b"ABCD")
        assert (call.max_tokens, call.score_from) == (1, None)
        assert values(plan) == [[(-65.0, True)], [(-66.0, False)], [(-67.0, False)], [(-68.0, False)]]

    def test_single_token_choices_are_one_call_each_in_reference_numerics(self) -> None:
        plan = planner(fast=False).plan(self.LETTERS)
        assert [bytes(call.prompt) for call in plan.calls] == [b"Answer:" + bytes([c]) for c in b"ABCD"]
        assert [call.score_from for call in plan.calls] == [7] * 4
        assert not any(call.choices for call in plan.calls)
        assert values(plan) == [[(-65.0, False)], [(-66.0, True)], [(-67.0, False)], [(-68.0, True)]]

    def test_equally_likely_choices_are_all_greedy(self) -> None:
        plan = planner().plan(make_item(likelihood("Answer:", "A"), likelihood("Answer:", "A")))
        assert plan.calls[0].choices == tuple(b"A")
        assert values(plan) == [[(-65.0, True)], [(-65.0, True)]]

    @pytest.mark.parametrize("fast", [True, False])
    def test_choices_of_several_tokens_are_scored_with_one_prompt_each(self, fast: bool) -> None:
        plan = planner(fast=fast).plan(
            make_item(likelihood("Q:", " no"), likelihood("Q:", "B"), likelihood("Q:", " yes"))
        )
        assert [bytes(call.prompt) for call in plan.calls if call.score_from] == [
            b"Q: no",
            *([] if fast else [b"Q:B"]),
            b"Q: yes",
        ]
        assert [response[0][0] for response in values(plan)] == [score(" no"), score("B"), score(" yes")]

    def test_several_contexts_with_one_continuation_are_scored(self) -> None:
        plan = planner().plan(make_item(likelihood("He", "!"), likelihood("She", "!")))
        assert [bytes(call.prompt) for call in plan.calls] == [b"He", b"She"]
        assert values(plan) == [[(-33.0, True)], [(-33.0, True)]]

    def test_mutual_information_also_scores_without_a_context(self) -> None:
        item = make_item(*(likelihood(context, letter) for context in ("Q:", "") for letter in "AB"))
        plan = planner().plan(item)
        assert [list(call.prompt) for call in plan.calls] == [list(b"Q:"), [EOS]]
        assert [response[0][0] for response in values(plan)] == [-65.0, -66.0, -65.0, -66.0]

    def test_contexts_that_share_tokens_share_the_call(self) -> None:
        plan = planner().plan(make_item(likelihood("Q: ", "A"), likelihood("Q:", "A")))
        # The space goes to the continuation: two tokens there, one here.
        assert [(bytes(call.prompt), call.score_from) for call in plan.calls] == [(b"Q: A", 2), (b"Q:", None)]
        assert values(plan) == [[(score(" A"), False)], [(-65.0, True)]]

    def test_an_empty_continuation_is_certain(self) -> None:
        plan = planner().plan(make_item(likelihood("Q:", ""), likelihood("Q:", "A")))
        assert len(plan.calls) == 1
        assert values(plan) == [[(0, True)], [(-65.0, True)]]

    def test_repeats_share_one_call(self) -> None:
        for fast in (True, False):
            plan = planner(fast=fast).plan(make_item(likelihood("Q:", "A", repeats=3)))
            assert len(plan.calls) == 1
            assert len(values(plan)[0]) == 3
            assert len(set(values(plan)[0])) == 1

    def test_more_choices_than_the_engine_accepts_become_several_calls(self) -> None:
        tokens = [chr(n) for n in range(1, 128)] * 2
        plan = planner().plan(make_item(*(likelihood("Q:", token) for token in tokens)))
        assert [len(call.choices) <= MAX_CHOICES for call in plan.calls] == [True, True]
        assert [response[0][0] for response in values(plan)] == [-float(ord(token)) for token in tokens]


class TestGenerations:
    """Answers in words."""

    def test_the_answer_is_cut_at_its_stops(self) -> None:
        plan = planner().plan(make_item(generate("Hi", until=[", seed"], max_gen_toks=9)))
        (call,) = plan.calls
        assert (bytes(call.prompt), call.max_tokens, call.temperature) == (b"Hi", 9, 0.0)
        assert call.stop == (", seed", "<eos>")
        assert call.seed is None
        assert values(plan) == [["answer to [72, 105]"]]

    def test_a_greedy_answer_serves_all_repeats_in_fast_numerics(self) -> None:
        item = make_item(generate("Hi", repeats=3))
        assert len(planner().plan(item).calls) == 1
        assert len(planner(fast=False).plan(item).calls) == 3
        assert values(planner().plan(item)) == values(planner(fast=False).plan(item))

    def test_sampled_repeats_are_calls_with_distinct_seeds(self) -> None:
        item = make_item(generate("Hi", repeats=3, temperature=0.7), generate("Hi", repeats=2, temperature=0.7))
        for fast in (True, False):
            plan = planner(fast=fast).plan(item)
            seeds = [call.seed for call in plan.calls]
            assert len(set(seeds)) == 5
            assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)
            assert [
                [str(seed) in value for value in response]
                for response, seed in zip(values(plan), seeds[::3], strict=True)
            ] == [
                [True, False, False],
                [True, False],
            ]

    def test_seeds_depend_only_on_run_item_request_and_repeat(self) -> None:
        def seeds(item: Item, seed: int = 1) -> list[int | None]:
            return [call.seed for call in planner(seed=seed).plan(item).calls]

        item = make_item(generate("Hi", repeats=2, temperature=0.7))
        assert seeds(item) == seeds(make_item(generate("Hi", repeats=2, temperature=0.7)))
        others = [seeds(item, seed=2), seeds(make_item(generate("Hi", repeats=2, temperature=0.7), doc_id=1))]
        assert len({*seeds(item), *others[0], *others[1]}) == 6


class TestRolling:
    """Likelihoods of whole texts."""

    def test_a_long_text_is_summed_over_its_windows(self) -> None:
        text = "abcdefghij" * 3
        plan = planner(limit=14).plan(make_item(rolling(text, repeats=2)))
        assert len(plan.calls) == 3
        assert all(len(call.prompt) + call.max_tokens <= 14 for call in plan.calls)
        assert values(plan) == [[score(text)] * 2]

    def test_an_empty_text_has_nothing_to_sum(self) -> None:
        plan = planner().plan(make_item(rolling("")))
        assert plan.calls == []
        assert values(plan) == [[0]]


class TestAssembly:
    """Responses come to the request and repeat that asked."""

    def test_mixed_requests_keep_their_order(self) -> None:
        item = make_item(
            likelihood("Q:", "B"),
            generate("Hi", repeats=2),
            rolling("xyz"),
            likelihood("Q:", "long"),
            likelihood("Q:", "A"),
        )
        found = values(planner().plan(item))
        assert [len(response) for response in found] == [1, 2, 1, 1, 1]
        assert found[0] == [(-66.0, False)]
        assert found[1][0].startswith("answer to [72, 105]")
        assert found[2] == [score("xyz")]
        assert found[3] == [(score("long"), False)]
        assert found[4] == [(-65.0, True)]

    def test_tokens_and_seconds_are_those_of_the_calls(self) -> None:
        (response,) = answered(planner(limit=6).plan(make_item(rolling("abcdefgh"))))
        # Two windows, of 4 tokens and one for context each; the second call took 1 s, the longer of the two.
        assert (response[0].prompt_tokens, response[0].output_tokens, response[0].seconds) == (10, 4, 1.0)
        assert response[0].finish_reason == "stop"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("item", "why"),
    [
        (
            make_item(generate("x" * 40, max_gen_toks=11)),
            "ContextTooLong: 40 prompt tokens and 11 to generate are 51, ",
        ),
        (make_item(likelihood("x" * 49, "yy")), "ContextTooLong: 51 prompt tokens and 1 to generate are 52, more than"),
        (make_item(likelihood("Q:", "A"), likelihood("x" * 50, "y")), "ContextTooLong: 51 prompt"),
        (make_item(generate("")), "EmptyPrompt: "),
        (make_item(likelihood("  \n", "A")), "EmptyContext: "),
        (make_item(generate("Hi", best_of=4)), "UnknownGenerationArgument: unknown generation argument 'best_of'"),
        (make_item(generate("Hi", max_gen_toks="many")), "BadGenerationArgument: max_gen_toks is 'many'"),
    ],
)
def test_an_item_that_cannot_run_is_refused_with_the_reason(item: Item, why: str, fast: bool) -> None:
    with pytest.raises(ItemRefused) as refused:
        planner(limit=50, fast=fast).plan(item)
    assert str(refused.value).startswith(why)


@pytest.mark.parametrize("item", [make_item(generate("Q: a \ud83d")), make_item(likelihood("Q:", "\udc00"))])
def test_a_text_with_half_a_surrogate_pair_is_refused_with_its_place(item: Item) -> None:
    with pytest.raises(ItemRefused, match=r"NotUnicode: the text has half a surrogate pair, .*, after 'Q:"):
        planner().plan(item)


def test_an_item_that_fits_to_the_last_token_runs() -> None:
    assert planner(limit=50).plan(make_item(generate("x" * 40, max_gen_toks=10))).calls
    assert planner(limit=50).plan(make_item(likelihood("x" * 47, "yy"))).calls
