"""Documents to items: streaming, repeatable, the same requests as ``Task.build_all_requests``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pytest

from evalrun_runner.benchmarks.build import estimate_cost, iter_items
from evalrun_runner.benchmarks.chat import chat_template_of
from evalrun_runner.benchmarks.load import LeafTask, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from evalrun_runner.records.plan import Request, RequestType
from support.parity import render_chat
from support.suites import Suite

ROWS: list[dict[str, Any]] = [
    {"question": f"{i} + 1 =", "answer": str(i + 1), "options": [str(i), str(i + 1)]} for i in range(9)
]
GENERATE: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
}
CHOOSE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "options",
    "doc_to_target": "{{1}}",
}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data("rows", ROWS)


def leaf_of(suite: Suite, task: str = "sums", **fields: Any) -> LeafTask:
    spec = BenchmarkSpec(task, task, source=suite.folder, **fields)
    (leaf,) = load_benchmarks([spec], seed=3, allow_code=False).leaves
    return leaf


@pytest.mark.parametrize("config", [GENERATE, CHOOSE])
@pytest.mark.parametrize("chat", [False, True])
def test_the_requests_are_those_of_lm_eval(suite: Suite, config: dict[str, Any], chat: bool) -> None:
    suite.with_task("sums", data="rows", **config, repeats=2)
    items = list(iter_items(leaf_of(suite, num_fewshot=2, apply_chat_template=chat), render_chat))
    reference = leaf_of(suite, num_fewshot=2, apply_chat_template=chat).task

    reference.build_all_requests(
        limit=None,
        apply_chat_template=chat,
        fewshot_as_multiturn=True,
        chat_template=render_chat if chat else None,
    )

    ours = [(item.doc_id, request.type.value, request.index, request.arguments, request.repeats, item.doc)
            for item in items for request in item.requests]  # fmt: skip
    theirs = [(one.doc_id, one.request_type, one.idx, one.args, one.repeats, one.doc) for one in reference.instances]
    assert ours == theirs


def test_building_twice_gives_the_same_items(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE)
    leaf = leaf_of(suite, num_fewshot=3)

    assert list(iter_items(leaf, None)) == list(iter_items(leaf, None))


def test_a_limit_is_a_prefix(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    assert (
        list(iter_items(leaf_of(suite, num_fewshot=2, limit=4), None))
        == list(iter_items(leaf_of(suite, num_fewshot=2), None))[:4]
    )


def test_documents_are_built_as_they_are_asked_for(suite: Suite) -> None:
    rows = [*ROWS[:3], {"question": 4, "answer": "x", "options": []}]
    suite.with_data("late", [{**row, "question": str(row["question"])} for row in rows])
    suite.with_task("sums", data="late", **{**GENERATE, "doc_to_text": "{{ 7 // (question|length - 1) }}"})
    items = iter_items(leaf_of(suite), None)

    assert [next(items).doc_id for _ in range(3)] == [0, 1, 2]
    assert next(items).fault == (
        "doc_to_text cannot be rendered: ZeroDivisionError: integer division or modulo by zero; expected text"
    )


def test_a_document_that_cannot_be_rendered_has_no_requests_and_changes_no_other(suite: Suite) -> None:
    suite.with_data("train", ROWS)
    odd = [*ROWS[:3], {**ROWS[3], "question": None}, *ROWS[4:]]
    suite.with_data("odd", odd)
    splits = {"training_split": "train", "num_fewshot": 3}
    suite.with_task("whole", **{**GENERATE, **suite.reading("rows", train="train"), **splits})
    suite.with_task("odd", **{**GENERATE, **suite.reading("odd", train="train"), **splits})
    whole, others = (list(iter_items(leaf_of(suite, task), None)) for task in ("whole", "odd"))

    assert (others[3].requests, others[3].fault is None) == ((), False)
    assert [item.requests for item in others[4:]] == [item.requests for item in whole[4:]]


def test_a_target_that_is_not_text_is_reported(suite: Suite) -> None:
    suite.with_data("numbers", [{"question": "1 + 1 =", "answer": 2}])
    suite.with_task(
        "sums", data="numbers", output_type="loglikelihood", doc_to_text="{{question}}", doc_to_target="answer"
    )

    assert next(iter_items(leaf_of(suite), None)).fault == "doc_to_target (answer) is 2 (int); expected text"


def test_more_shots_than_documents(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    with pytest.raises(InputError, match="task 'sums', document 0 cannot be built"):
        next(iter_items(leaf_of(suite, num_fewshot=50), None))


def test_documents_that_are_not_json_are_refused(suite: Suite) -> None:
    suite.with_data("days", [{"question": "when?", "answer": "now", "day": "2026-01-02T03:04:05"}])
    suite.with_task("sums", data="days", **GENERATE, metadata={"evalrun": {"retyped": "allow"}})

    with pytest.raises(InputError, match=r"task 'sums': its documents are not plain JSON.*value\.day is a datetime"):
        load_benchmarks([BenchmarkSpec("sums", "sums", source=suite.folder)], seed=3, allow_code=False)


def test_applying_a_chat_template_requires_one(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE)

    with pytest.raises(
        InputError, match="benchmark 'sums' applies a chat template, and the model's tokenizer has none"
    ):
        next(iter_items(leaf_of(suite, apply_chat_template=True), None))


class Tokenizer:
    """A tokenizer whose template may refuse system messages."""

    def __init__(self, *, refuses_system: bool = False) -> None:
        self._refuses_system = refuses_system
        self.calls: list[dict[str, Any]] = []

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **arguments: Any) -> str:
        self.calls.append(arguments)
        if self._refuses_system and any(message["role"] == "system" for message in messages):
            raise jinja2.TemplateError("System role not supported")
        return "|".join(message["content"] for message in messages)


MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


def test_a_chat_template_continues_the_last_message_or_opens_a_new_one() -> None:
    tokenizer = Tokenizer()
    template = chat_template_of(tokenizer, enable_thinking=False)
    tokenizer.calls.clear()

    assert template(MESSAGES) == "be brief|hello"
    template(MESSAGES, add_generation_prompt=False)

    common = {"tokenize": False, "enable_thinking": False}
    assert tokenizer.calls == [
        {"add_generation_prompt": True, "continue_final_message": False, **common},
        {"add_generation_prompt": False, "continue_final_message": True, **common},
    ]


def test_a_template_that_refuses_system_messages_gets_none() -> None:
    assert chat_template_of(Tokenizer(refuses_system=True))(MESSAGES) == "hello"


def generate(context: str, repeats: int = 1, **settings: Any) -> Request:
    return Request(RequestType.GENERATE_UNTIL, 0, (context, settings), repeats)


def choice(context: str, continuation: str) -> Request:
    return Request(RequestType.LOGLIKELIHOOD, 0, (context, continuation))


def test_longer_prompts_and_budgets_cost_more() -> None:
    costs = [
        estimate_cost([generate("x" * 40, max_gen_toks=16)]),
        estimate_cost([generate("x" * 4000, max_gen_toks=16)]),
        estimate_cost([generate("x" * 40, max_gen_toks=1024)]),
        estimate_cost([generate("x" * 40, max_gen_toks=1024, repeats=8)]),
    ]

    assert costs == sorted(costs)
    assert len(set(costs)) == 4


def test_a_shared_context_is_counted_once() -> None:
    shared = [choice("c" * 4000, letter) for letter in "ABCD"]
    apart = [choice(letter + "c" * 4000, letter) for letter in "ABCD"]

    assert estimate_cost(shared) < 1.1 * estimate_cost(shared[:1])
    assert estimate_cost(apart) > 3.9 * estimate_cost(apart[:1])


def test_requests_that_cannot_be_made_name_task_and_document(suite: Suite) -> None:
    suite.with_task("sums", data="rows", **GENERATE)
    leaf = leaf_of(suite)
    leaf.task.config.repeats = "two"

    with pytest.raises(InputError, match="task 'sums', document 0: its requests cannot be made: ValueError: "):
        next(iter_items(leaf, None))
