"""Documents of a user's own task: what no model can get right is found and named, and what is right is left alone."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.checks.gold import gold_of
from evalrun_runner.benchmarks.checks.summary import check_surveys
from evalrun_runner.benchmarks.checks.survey import Survey
from evalrun_runner.benchmarks.load import LeafTask, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from support.suites import Suite

Rows = list[dict[str, Any]]
CHOOSE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc"}],
}
LETTERS: dict[str, Any] = {**CHOOSE, "doc_to_choice": ["A", "B", "C", "D"]}
WRITE: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "exact_match"}],
}
FOUR = ["two", "four", "six", "eight"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite")


def answers(values: Sequence[Any], **more: Any) -> Rows:
    return [{"question": f"What is {n}?", "answer": value, **more} for n, value in enumerate(values)]


def leaf_of(suite: Suite, rows: Rows, config: dict[str, Any], **fields: Any) -> LeafTask:
    suite.with_data("rows", rows).with_task("t", data="rows", **config)
    (leaf,) = load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder, **fields)], seed=1, allow_code=False).leaves
    return leaf


def survey_of(suite: Suite, rows: Rows, config: dict[str, Any]) -> Survey:
    survey = leaf_of(suite, rows, config).survey
    assert survey is not None
    return survey


FINE: dict[str, tuple[Rows, dict[str, Any]]] = {
    "indices": (answers([0, 3, 1], choices=FOUR), CHOOSE),
    "true and false for yes and no": (answers([True, False, True], choices=["no", " Yes"]), CHOOSE),
    "true and false that a template makes indices": (
        answers([True, False, True], choices=["yes", "no"]),
        {**CHOOSE, "doc_to_target": "{{1 - answer|int}}"},
    ),
    "true and false as texts of choices": (
        answers([True, False], choices=["True", "False"]),
        {**CHOOSE, "doc_to_target": "{{answer}}"},
    ),
    "an empty field that is left out": (
        [{"question": "a", "answer": "1", "hint": ""}, {"question": "b", "answer": "2", "hint": "add"}],
        {**WRITE, "doc_to_text": "{{question}}{% if hint %} ({{hint}}){% endif %}{{hint or ''}}{{hint|trim or '-'}}"},
    ),
    "an empty field that no template names": (answers(["1", "2"], source=""), WRITE),
    "digits of a template": (answers(["0", "3"], choices=FOUR), {**CHOOSE, "doc_to_target": "{{answer}}"}),
    "texts of choices": (answers(["six", "two"], choices=FOUR), CHOOSE),
    "lists of indices": (answers([[0, 2], [1]], choices=FOUR), CHOOSE),
    "letters": (answers(["A", "D"]), LETTERS),
    "the first choice for all": (answers([9, 9], choices=FOUR), {**CHOOSE, "doc_to_target": 0}),
    "labels that never are the last": (answers([1, 2, 1], choices=FOUR), CHOOSE),
    "texts": (answers(["one", "two"]), WRITE),
    "numbers": (answers([1, 2]), {**WRITE, "doc_to_target": "answer"}),
    "decimals": (answers([1.5, 2.25]), {**WRITE, "doc_to_target": "answer"}),
    "brackets that are no list": (answers(["[x, y]", "[a"]), WRITE),
    "lists of texts": (answers([["1", "one"], ["2"]]), {**WRITE, "doc_to_target": "answer"}),
    "nothing is an accepted answer": (answers([["1"], [""]]), {**WRITE, "doc_to_target": "answer"}),
    "a null that is only tested": (
        [{"question": "a", "answer": "1", "hint": None}, {"question": "b", "answer": "2", "hint": "add"}],
        {**WRITE, "doc_to_text": "{{question}}{% if hint is not none %} ({{hint}}){% endif %}"},
    ),
    "a null with a default": (
        [{"question": "a", "answer": "1", "hint": None}, {"question": "b", "answer": "2", "hint": "add"}],
        {**WRITE, "doc_to_text": "{{question}}{{hint or ''}}{{hint|default('', true)}}"},
    ),
    "a null that no template names": (
        [{"question": "a", "answer": "1", "source": None}, {"question": "b", "answer": "2", "source": None}],
        WRITE,
    ),
    "a null inside JSON": (
        [{"question": "a", "answer": "1", "table": {"x": None}}, {"question": "b", "answer": "2", "table": {"x": 1}}],
        {**WRITE, "doc_to_text": "{{table|tojson}} {{question}}"},
    ),
    "nulls that are left out of a list": (
        [{"question": "a", "answer": "1", "facts": ["x", None]}, {"question": "b", "answer": "2", "facts": ["y"]}],
        {**WRITE, "doc_to_text": "{{facts|select|join(', ')}} {{question}}"},
    ),
    "no answer is asked for": (
        answers([None, "x"]),
        {**WRITE, "doc_to_text": "{{question}}", "doc_to_target": "", "metric_list": [{"metric": "bypass"}]},
    ),
    "sentences without a question": (
        answers([0, 1], choices=["He sleeps.", "He sleep."]),
        {**CHOOSE, "doc_to_text": ""},
    ),
    "a text whose probability is asked for": (
        answers([" one", " two"]),
        {**WRITE, "output_type": "loglikelihood", "metric_list": [{"metric": "acc"}]},
    ),
    "prompts that are the choices": (
        [
            {"right": 0, "contexts": ["He is", "She is"], "rest": " tall"},
            {"right": 1, "contexts": ["I am", "You are"], "rest": " here"},
        ],
        {**CHOOSE, "doc_to_text": "{{right}}", "doc_to_choice": "contexts", "doc_to_target": "rest"},
    ),
    "an answer that is meant as it stands": (
        answers(["x", "y"]),
        {**WRITE, "doc_to_target": "{{'answr'}}"},
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_documents_that_are_right_are_left_alone(suite: Suite, case: str) -> None:
    rows, config = FINE[case]
    leaf = leaf_of(suite, rows, config)
    assert leaf.survey is not None
    assert dict(leaf.survey.findings) == {}
    assert leaf.survey.notes == ()
    assert [item.fault for item in iter_items(leaf, None)] == [None] * len(rows)


WRONG: dict[str, tuple[Rows, dict[str, Any], list[int], str]] = {
    "an index that is no choice": (answers([0, 4, 1], choices=FOUR), CHOOSE, [1], "doc_to_target (answer) is 4"),
    "an index below 0": (answers([0, -1, 1], choices=FOUR), CHOOSE, [1], "is -1; expected an index from 0 to 3"),
    "lm-eval's mark for no label": (answers([0, -100], choices=FOUR), CHOOSE, [1], "is -100"),
    "a letter that is no choice": (answers(["A", "E"]), LETTERS, [1], "is 'E'; expected an index from 0 to 3, or one"),
    "a letter in another case": (answers(["A", "b"]), LETTERS, [1], "is 'b'"),
    "a letter with a space": (answers(["A", "B "]), LETTERS, [1], "is 'B '"),
    "digits in a column of text": (answers(["1", "0"], choices=FOUR), CHOOSE, [0, 1], "is '1'"),
    "true beside a choice that says no": (
        answers([False, True], choices=["yes", "no"]),
        CHOOSE,
        [0, 1],
        "doc_to_target (answer) is False (bool); expected an index from 0 to 1, or one of 'yes', 'no': true would be "
        "index 1, 'no'",
    ),
    "true beside four choices": (answers([True, False], choices=FOUR), CHOOSE, [0, 1], "is True (bool)"),
    "true in a list of indices": (answers([[True], [False]], choices=FOUR), CHOOSE, [0, 1], "is True (bool)"),
    "the later of equal choices": (
        answers([0, 1, 2], choices=["x", "x", "y"]),
        CHOOSE,
        [1],
        "is 1, and choice 1 is the same text as choice 0, 'x'; expected 0, as of equal choices only the first can be",
    ),
    "lists with only the later of equal choices": (
        answers([[0, 1], [1], [2, 1]], choices=["x", "x", "y"]),
        CHOOSE,
        [1],
        "is 1, and choice 1 is the same text as choice 0",
    ),
    "NaN as the answer": (answers([1.5, float("nan")]), WRITE, [1], "answer, which doc_to_target prints, is null"),
    "NaN in a column of texts": (
        answers(["1", float("nan")]),
        {**WRITE, "doc_to_target": "answer"},
        [1],
        "doc_to_target (answer) is null",
    ),
    "NaN in the question": (
        [*answers(["1", "2"]), {"question": float("nan"), "answer": "3"}],
        WRITE,
        [2],
        "question, which doc_to_text prints, is null",
    ),
    "a null in a list of answers": (
        answers([["1"], ["2", None]]),
        {**WRITE, "doc_to_target": "answer"},
        [1],
        "a list with null",
    ),
    "a decimal as an index": (answers([0.0, 1.0], choices=FOUR), CHOOSE, [0, 1], "is 1.0; expected an index"),
    "no answer": (answers([1, None], choices=FOUR), CHOOSE, [1], "is null; expected an index from 0 to 3"),
    "no index in a list": (answers([[1], [0, 4]], choices=FOUR), CHOOSE, [1], "is 4"),
    "an empty list of indices": (answers([[1], []], choices=FOUR), CHOOSE, [1], "is an empty list"),
    "a blank choice": (
        [*answers([0, 1], choices=FOUR), {"question": "?", "answer": 0, "choices": ["two", "four", "", "eight"]}],
        CHOOSE,
        [2],
        "doc_to_choice[2] is '', which is blank; expected text",
    ),
    "a null choice": (
        [*answers([0, 1], choices=FOUR), {"question": "?", "answer": 0, "choices": ["two", None, "six", "eight"]}],
        CHOOSE,
        [2],
        "doc_to_choice[1] is null",
    ),
    "a null choice of a template": (
        [{"question": "?", "a": "x", "b": "y", "answer": 0}, {"question": "?", "a": None, "b": "y", "answer": 0}],
        {**CHOOSE, "doc_to_choice": "{{[a, b]}}"},
        [1],
        "a, which doc_to_choice prints, is null",
    ),
    "choices that are numbers": (answers([0, 1], choices=[1, 2]), CHOOSE, [0, 1], "is 1 (int); expected text"),
    "one choice": (
        [*answers([0, 1], choices=FOUR), {"question": "?", "answer": 0, "choices": ["two"]}],
        CHOOSE,
        [2],
        "is a list of 1; expected two choices or more",
    ),
    "a null in the question": (
        [*answers(["1", "2"]), {"question": None, "answer": "3"}],
        WRITE,
        [2],
        "question, which doc_to_text prints, is null",
    ),
    "a null that cannot be rendered": (
        [*answers(["1", "2"]), {"question": None, "answer": "3"}],
        {**WRITE, "doc_to_text": "{{'Q: ' + question}}"},
        [2],
        "question, which doc_to_text reads, is null",
    ),
    "texts in a list of right choices": (
        answers([["six"], ["two", "four"]], choices=FOUR),
        CHOOSE,
        [0, 1],
        "is 'six'; expected an index from 0 to 3",
    ),
    "a misspelt column of choices": (
        answers([0, 1], choices=FOUR),
        {**CHOOSE, "doc_to_choice": "choises"},
        [0, 1],
        "doc_to_choice cannot be rendered: 'choises' is no column; expected a list of texts",
    ),
    "a null in the answer": (answers(["1", None]), WRITE, [1], "answer, which doc_to_target prints, is null"),
    "a field that a row lacks": (
        [*answers(["1", "2"]), {"question": "What?"}],
        WRITE,
        [2],
        "answer, which doc_to_target prints, is null",
    ),
    "a null inside a list that is printed": (
        [{"question": "?", "answer": "1", "facts": ["x", "y"]}, {"question": "?", "answer": "1", "facts": ["x", None]}],
        {**WRITE, "doc_to_text": "{{facts|join(', ')}} {{question}}"},
        [1],
        "facts[1], which doc_to_text prints, is null",
    ),
    "a null that a filter makes a text": (
        [*answers(["1", "2"]), {"question": None, "answer": "3"}],
        {**WRITE, "doc_to_text": "{{question|trim|upper ~ '?'}}"},
        [2],
        "question, which doc_to_text prints, is null",
    ),
    "a null in the description": (
        [*answers(["1", "2"], topic="sums"), {"question": "?", "answer": "3", "topic": None}],
        {**WRITE, "description": "On {{topic}}.\n"},
        [2],
        "topic, which description prints, is null",
    ),
    "a blank answer": (answers(["1", ""]), WRITE, [1], "doc_to_target is '', which is blank"),
    "a blank question": (
        [*answers(["1", "2"]), {"question": " ", "answer": "3"}],
        {**WRITE, "doc_to_text": "question"},
        [2],
        "doc_to_text is blank",
    ),
    "no accepted answer": (
        answers([[], ["1"], ["2", "3"]]),
        {**WRITE, "doc_to_target": "answer"},
        [0],
        "is an empty list; expected one accepted answer or more",
    ),
    "a text before lists": (
        answers(["0", '["1", "2"]', '["2", "3"]']),
        WRITE,
        [0],
        "is '0', one answer; expected a list of answers, as in the other documents",
    ),
    "a list among texts": (
        answers(["0", "1", '["2", "3"]']),
        WRITE,
        [2],
        "a list of answers; expected one answer, as in the other documents",
    ),
    "lists of numbers": (answers(["[0, 1]", "[1, 2]"]), WRITE, [0, 1], "is [0, 1], a list with 0 (int); expected text"),
    "a record for an answer": (
        answers([{"text": ["x"], "start": [0]}, {"text": ["y"], "start": [1]}]),
        {**WRITE, "doc_to_target": "answer"},
        [0, 1],
        "expected text or a list of texts",
    ),
    "a misspelt column": (
        answers(["x", "y"]),
        {**WRITE, "doc_to_target": "anwser"},
        [0, 1],
        "doc_to_target is 'anwser', which is no column; expected a column or a template",
    ),
    "another usual name than the column's": (
        [{"question": "?", "solution": "x"}, {"question": "?", "solution": "y"}],
        {**WRITE, "doc_to_target": "answer"},
        [0, 1],
        "doc_to_target is 'answer', which is no column",
    ),
    "a misspelt column of prompts": (
        answers(["x", "y"]),
        {**WRITE, "doc_to_text": "questoin"},
        [0, 1],
        "doc_to_text is 'questoin', which is no column",
    ),
    "a misspelt column of labels": (answers(["A", "B"]), {**LETTERS, "doc_to_target": "anwser"}, [0, 1], "is 'anwser'"),
    "a place that is a text": (
        answers(["six", "two"], choices=FOUR),
        {**WRITE, "doc_to_choice": "choices", "doc_to_target": "answer"},
        [0, 1],
        "is 'six'; expected an index from 0 to 3",
    ),
    "a prompt of digits": (
        [
            {"question": "Half of eight?", "answer": 1, "choices": FOUR},
            {"question": "17", "answer": 1, "choices": FOUR},
            {"question": "Half of four?", "answer": 0, "choices": FOUR},
        ],
        {**CHOOSE, "doc_to_text": "{{question}}"},
        [1],
        "doc_to_text is the number 17; expected text",
    ),
    "a continuation that is blank": (
        answers([" one", "  "]),
        {**WRITE, "output_type": "loglikelihood", "metric_list": [{"metric": "acc"}]},
        [1],
        "which is blank",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_documents_that_cannot_be_right_are_named(suite: Suite, case: str) -> None:
    rows, config, documents, line = WRONG[case]
    if documents == list(range(len(rows))):
        # A task of which no document is right may not even be made.
        with pytest.raises(InputError) as refused:
            check_surveys({"t": survey_of(suite, rows, config)}, max_failed=100)
        assert f"{len(rows)} of {len(rows)} documents cannot be right" in str(refused.value)
        assert line in str(refused.value)
        return
    leaf = leaf_of(suite, rows, config)
    assert leaf.survey is not None
    assert list(leaf.survey.findings) == documents
    assert line in str(leaf.survey.fault(documents[0]))
    items = list(iter_items(leaf, None))
    assert [item.doc_id for item in items if item.fault is not None] == documents
    assert [item.doc_id for item in items if not item.requests] == documents


def test_the_first_document_that_is_right_decides_for_the_others(suite: Suite) -> None:
    leaf = leaf_of(suite, answers(["0", '["1", "2"]', '["2", "3"]']), WRITE)
    assert leaf.task.multiple_target == 2
    assert '["1", "2"]' in leaf.recipe.first_doc.replace("\\", "")


@pytest.mark.parametrize("first", [{"answer": 4}, {"choices": [" two", "", " six", " eight"]}])
def test_a_wrong_first_document_is_named_like_any_other(suite: Suite, first: dict[str, Any]) -> None:
    rows = answers([0, 3, 0], choices=FOUR)
    rows[0] |= first
    leaf = leaf_of(suite, rows, CHOOSE)
    assert leaf.survey is not None
    assert list(leaf.survey.findings) == [0]
    items = list(iter_items(leaf, None))
    assert [len(item.requests) for item in items] == [0, 4, 4]


def test_labels_in_a_column_of_text_are_counted_from_one_too(suite: Suite) -> None:
    with pytest.raises(InputError, match=r"hint: labels seem to be counted from one.*\{\{answer\|int - 1\}\}"):
        check_surveys({"t": survey_of(suite, answers(["2", "4", "1"], choices=FOUR), CHOOSE)}, max_failed=2)


def test_a_hint_speaks_of_the_columns_of_the_task(suite: Suite) -> None:
    rows = [{"question": "?", "right": "b"}, {"question": "?", "right": "A"}]
    with pytest.raises(InputError, match=r"doc_to_target: \"\{\{right\|trim\|upper\}\}\""):
        check_surveys({"t": survey_of(suite, rows, {**LETTERS, "doc_to_target": "right"})}, max_failed=0)


def test_labels_counted_from_one_are_all_wrong(suite: Suite) -> None:
    survey = survey_of(suite, answers([2, 1, 4, 3], choices=FOUR), CHOOSE)
    assert list(survey.findings) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="hint: labels seem to be counted from one"):
        check_surveys({"t": survey}, max_failed=3)


HINTS: dict[str, tuple[Rows, dict[str, Any], str]] = {
    "case": (answers(["a", "B"]), LETTERS, "'a' and 'A' differ in case or spaces only"),
    "digits": (answers(["0", "two"], choices=FOUR), CHOOSE, "reads digits as an index"),
    "letters of choices": (answers(["B", "two"], choices=FOUR), CHOOSE, "doc_to_choice: [A, B, C, D]"),
    "a near column": (answers(["x", "y"]), {**WRITE, "doc_to_target": "anwser"}, "did you mean answer?"),
    "a near name": (answers(["x", "y"]), {**WRITE, "doc_to_target": "{{anwser}}"}, "did you mean answer?"),
    "true": (answers([True, False], choices=FOUR), CHOOSE, 'doc_to_target: "{{answer|int}}"'),
    "decimals in a column of text": (answers(["0.0", "1.0"], choices=FOUR), CHOOSE, "without a decimal point"),
    "a null in a list": (
        answers([["1"], ["2", None]]),
        {**WRITE, "doc_to_target": "answer"},
        "drop the null from the list, or fill it in",
    ),
    "numbers in a list": (
        answers([[1], [2, 3]]),
        {**WRITE, "doc_to_target": "answer"},
        "\"{{answer|map('string')|list}}\"",
    ),
    "letters in a list": (
        answers([["A", "B"], ["D"]], choices=FOUR),
        CHOOSE,
        "\"[{% for one in answer %}{{'ABCD'.index(one)}},{% endfor %}]\"",
    ),
    "texts in a list": (
        answers([["six"], ["two", "four"]], choices=FOUR),
        CHOOSE,
        '"[{% for one in answer %}{{choices.index(one)}},{% endfor %}]"',
    ),
    "a text for the index of a choice that the task lists": (
        answers(["B", "A"]),
        {**WRITE, "doc_to_choice": ["A", "B"], "doc_to_target": "answer"},
        "\"{{['A', 'B'].index(answer)}}\"",
    ),
    "a text for the index of a choice in other columns": (
        [{"question": "?", "a": "x", "b": "y", "right": "y"}, {"question": "?", "a": "x", "b": "z", "right": "x"}],
        {**WRITE, "doc_to_choice": "{{[a, b]}}", "doc_to_target": "right"},
        '"{{[a, b].index(right)}}"',
    ),
    "a record": (answers([{"text": ["x"]}] * 2), {**WRITE, "doc_to_target": "answer"}, "answer.text"),
}


@pytest.mark.parametrize("case", HINTS)
def test_a_refusal_says_what_to_do(suite: Suite, case: str) -> None:
    rows, config, hint = HINTS[case]
    with pytest.raises(InputError) as refused:
        check_surveys({"t": survey_of(suite, rows, config)}, max_failed=0)
    assert hint in str(refused.value).partition("hint: ")[2]


@pytest.mark.parametrize(
    ("case", "places"),
    [("letters in a list", [0, 1]), ("texts in a list", [2]), ("true", [1]), ("numbers in a list", [])],
)
def test_what_a_hint_says_makes_the_documents_right(suite: Suite, case: str, places: list[int]) -> None:
    rows, config, hint = HINTS[case]
    leaf = leaf_of(suite, rows, {**config, "doc_to_target": hint.removeprefix("doc_to_target: ").strip('"')})
    assert leaf.survey is not None
    assert not leaf.survey.findings
    (document, *_) = leaf.task.test_docs()
    assert gold_of(leaf.task, document).places == tuple(places)


def test_as_many_wrong_documents_as_the_policy_allows_are_failed_and_warned_of(suite: Suite) -> None:
    survey = survey_of(suite, answers([0, 9, 1, 8], choices=FOUR), CHOOSE)
    (warning,) = check_surveys({"t": survey}, max_failed=2)
    assert (warning.about, warning.count) == ("task t", 2)
    assert "2 of 4 documents are wrong and failed by name; task 't', document 1" in warning.message
    with pytest.raises(InputError, match=r"2 of 4 documents cannot be right, more than .*maxFailedItems \(1\) allows"):
        check_surveys({"t": survey}, max_failed=1)


def test_only_the_first_wrong_documents_are_listed(suite: Suite) -> None:
    with pytest.raises(InputError) as refused:
        check_surveys({"t": survey_of(suite, answers([0, *[9] * 20], choices=FOUR), CHOOSE)}, max_failed=0)
    assert str(refused.value).count("document ") == 5
    assert "and 15 more" in str(refused.value)


def test_documents_beyond_the_limit_do_not_matter(suite: Suite) -> None:
    leaf = leaf_of(suite, answers([0, 1, 9], choices=FOUR), CHOOSE, limit=2)
    assert leaf.survey is not None
    assert not leaf.survey.findings


def test_choices_that_stand_twice_are_counted(suite: Suite) -> None:
    survey = survey_of(suite, answers([0, 2], choices=["x", "x", "y"]), CHOOSE)
    assert not survey.findings
    (note,) = survey.notes
    assert (note.count, "2 of 2 documents have a choice twice" in note.message) == (2, True)


def test_an_answer_that_is_the_same_for_all_is_said(suite: Suite) -> None:
    (note,) = survey_of(suite, answers(["x", "y"]), {**WRITE, "doc_to_target": "No"}).notes
    assert "the answer is the same for all 2 documents: doc_to_target is the text 'No'" in note.message


def test_digits_that_are_read_as_indices_are_said(suite: Suite) -> None:
    (note,) = survey_of(suite, answers([1, 2, 1]), {**LETTERS, "doc_to_choice": ["1", "2", "3"]}).notes
    assert "all 3 answers that are digits are read as indices" in note.message


def test_few_shot_examples_are_looked_at_too(suite: Suite) -> None:
    suite.with_data("shots", [*answers(["1"]), {"question": "?", "answer": None}])
    suite.with_data("rows", answers(["1", "2"]))
    config = {**WRITE, **suite.reading("rows", train="shots"), "training_split": "train", "num_fewshot": 1}
    survey = survey_of(suite, answers(["1", "2"]), config)
    with pytest.raises(
        InputError, match=r"1 few-shot example cannot be right.*\n.*few-shot example 1: answer, which doc_to_target"
    ):
        check_surveys({"t": survey}, max_failed=0)


def test_wrong_documents_are_never_drawn_as_examples(suite: Suite) -> None:
    rows = answers([7, 1, 2, 0, 1, 0, 2, 9])
    leaf = leaf_of(suite, rows, {**LETTERS, "doc_to_choice": ["x", "y", "z"], "num_fewshot": 3})
    assert leaf.survey is not None
    assert list(leaf.survey.findings) == [0, 7]
    right = [item for item in iter_items(leaf, None) if item.fault is None]
    assert len(right) == 6
    assert not any("What is 0?" in item.requests[0].arguments[0] for item in right)


def test_digits_that_are_texts_of_choices_are_wrong_as_indices(suite: Suite) -> None:
    rows = [
        {"question": f"{n} + 1", "choices": [str(n), str(n + 1), str(n + 2)], "answer": str(n + 1)} for n in range(6)
    ]
    survey = survey_of(suite, rows, {**CHOOSE, "doc_to_target": "{{answer}}"})
    assert list(survey.findings) == [1, 2, 3, 4, 5], "0 + 1 is 1 by chance: the choice with index 1 is 1"
    assert "is 2, read as an index" in str(survey.fault(1))


def test_blank_texts_are_counted_where_a_perplexity_is_asked(suite: Suite) -> None:
    config = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{question}}"}
    rows = [{"question": "one two"}, {"question": ""}]
    survey = survey_of(suite, rows, {**config, "metric_list": [{"metric": "word_perplexity"}]})
    assert (dict(survey.findings), [note.count for note in survey.notes]) == ({}, [1])


def test_a_blank_cell_of_a_spreadsheet_is_named(suite: Suite) -> None:
    with (suite.folder / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], *[[f"{n}?", f"x{n}"] for n in range(5)], ["5?", ""]])
    reading: dict[str, Any] = {
        "dataset_path": "csv",
        "dataset_kwargs": {"data_files": {"test": "d.csv"}},
        "test_split": "test",
    }
    suite.with_task("t", **WRITE, **reading)
    (leaf,) = load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder)], seed=1, allow_code=False).leaves
    assert leaf.survey is not None
    assert list(leaf.survey.findings) == [5]


def test_empty_fields_that_reach_the_model_are_counted(suite: Suite) -> None:
    rows = [*answers(["1", "2"]), {"question": "", "answer": "3"}, {"question": " ", "answer": "4"}]
    survey = survey_of(suite, rows, {**WRITE, "doc_to_text": "Q: {{question|trim}}\nA:"})
    assert not survey.findings
    (note,) = survey.notes
    assert note.message == (
        "2 of 4 documents have an empty 'question', which doc_to_text prints; the first is document 2"
    )
    assert note.count == 2


def test_a_blank_cell_among_indices_is_the_only_fault(suite: Suite) -> None:
    (suite.folder / "d.csv").write_text("question,a,b,answer\n1?,x,y,0\n2?,x,y,\n3?,x,y,1\n")
    data = {"dataset_path": "csv", "dataset_kwargs": {"data_files": {"test": "d.csv"}}, "test_split": "test"}
    config: dict[str, Any] = {**CHOOSE, "doc_to_choice": "{{[a, b]}}", **data}
    suite.with_task("t", **config)
    (leaf,) = load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder)], seed=1, allow_code=False).leaves
    assert leaf.survey is not None
    assert list(leaf.survey.findings) == [1]
    assert "doc_to_target (answer) is null; expected an index from 0 to 1" in str(leaf.survey.fault(1))
