"""CSV data of a suite: a cell is the text that stands in the file, unless the task says otherwise."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.benchmarks.suites.data.splits import read_splits
from evalrun_runner.errors import InputError
from support.suites import Suite

TASK: dict[str, Any] = {
    "dataset_path": "csv",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
}
CHOICES: dict[str, Any] = {
    **TASK,
    "output_type": "multiple_choice",
    "doc_to_target": "answer",
    "doc_to_choice": "{{[a, b, c]}}",
}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite")


def read(suite: Suite, text: str, task: dict[str, Any] = TASK, **options: Any) -> list[dict[str, Any]]:
    """The documents of a task over this CSV."""
    suite.with_file("d.csv", text)
    return documents(suite, task, **options)


def documents(suite: Suite, task: dict[str, Any] = TASK, **options: Any) -> list[dict[str, Any]]:
    suite.with_task("t", **{**task, "dataset_kwargs": {"data_files": {"test": "d.csv"}, **options}})
    (leaf,) = load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder)], seed=1, allow_code=False).leaves
    return list(leaf.task.eval_docs)


def refusal(suite: Suite, text: str, task: dict[str, Any] = TASK, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(suite, text, task, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "cell",
    ["007", "NA", "None", "null", "nan", "", "1.50", "12345678901234567890", "2024-01-31", "True", "1e5", " 7", "-0"],
)
def test_a_cell_is_what_stands_in_the_file(suite: Suite, cell: str) -> None:
    rows = read(suite, f"question,answer\nq,{cell}\nr,3\n")

    assert rows == [{"question": "q", "answer": cell}, {"question": "r", "answer": "3"}]


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8), min_size=2, max_size=2),
        min_size=1,
        max_size=6,
    )
)
def test_every_cell_survives(tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]) -> None:
    folder = tmp_path_factory.mktemp("suite")
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([["question", "answer"], *cells])
    (folder / "d.csv").write_text(written.getvalue(), encoding="utf-8", newline="")

    found = read_splits(folder, {**TASK, "dataset_kwargs": {"data_files": {"test": "d.csv"}}})["test"]

    assert [[row["question"], row["answer"]] for row in found] == cells


def test_places_of_the_right_choice_stay_numbers(suite: Suite) -> None:
    rows = read(suite, "question,a,b,c,answer\nq,x,NA,z,1\nr,x,y,z,2\n", CHOICES)

    assert [row["answer"] for row in rows] == [1, 2]
    assert rows[0]["b"] == "NA"


def test_a_blank_cell_among_places_of_a_choice_is_a_place_that_lacks(suite: Suite) -> None:
    text = "question,a,b,c,answer\nq,x,y,z,1\nq,x,y,z,\nq,x,y,z,0\n"

    assert [row["answer"] for row in read(suite, text, CHOICES)] == [1, None, 0]


@pytest.mark.parametrize("answers", [("", ""), ("1", "3"), ("1", "01"), ("1", "B"), ("1", "1.0")])
def test_a_column_that_is_not_all_places_of_a_choice_stays_text(suite: Suite, answers: tuple[str, str]) -> None:
    text = "question,a,b,c,answer\n" + "".join(f"q,x,y,z,{answer}\n" for answer in answers)

    assert [row["answer"] for row in read(suite, text, CHOICES)] == list(answers)


def test_numbers_that_are_places_and_texts_of_choices_are_refused(suite: Suite) -> None:
    text = "question,answer\nq,1\nr,2\n"
    task = {**CHOICES, "doc_to_choice": ["1", "2", "3"]}

    assert "'answer' (doc_to_target) holds whole numbers that are both places" in refusal(suite, text, task)
    assert [row["answer"] for row in read(suite, text, task, features={"answer": "string"})] == ["1", "2"]
    assert [row["answer"] for row in read(suite, text, task, features={"answer": "int64"})] == [1, 2]


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'yes' if answer == 1 else 'no' }}",
        "{{ 'yes' if answer else 'no' }}",
        "{% if not answer %}no{% endif %}",
        "{{ answer * 2 }}",
        "{{ 'yes' if answer in [1, 2] else 'no' }}",
        "{{ answer - 1 }}",
        "{{ 1 + answer }}",
        "{{ ['no', 'yes'][answer] }}",
        "{{ {0: 'no', 1: 'yes'}[answer] }}",
    ],
)
def test_a_template_that_takes_text_for_a_number_is_refused(suite: Suite, template: str) -> None:
    text = "question,answer\nq,1\nr,0\n"
    task = {**TASK, "doc_to_target": template}

    message = refusal(suite, text, task)

    assert "doc_to_target takes the column 'answer' for numbers or truth values" in message
    assert len(read(suite, text, task, features={"answer": {"dtype": "int64"}})) == 2


@pytest.mark.parametrize(
    "template", ["{{ answer + '.' }}", "{{ {'1': 'yes', '0': 'no'}[answer] }}", "{{ answer|int * 2 }}"]
)
def test_a_template_may_take_text_for_text(suite: Suite, template: str) -> None:
    assert len(read(suite, "question,answer\nq,1\nr,0\n", {**TASK, "doc_to_target": template})) == 2


def test_a_template_may_ask_whether_a_text_is_there(suite: Suite) -> None:
    rows = read(suite, "question,answer,hint\nq,1,some\nr,0,\n", {**TASK, "doc_to_text": "{{ hint if hint else 'x' }}"})

    assert [row["hint"] for row in rows] == ["some", ""]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("question;answer\nq;007\n", {"delimiter": ";"}),
        ("question\tanswer\nq\t007\n", {"sep": "\t"}),
        ("q,007\n", {"names": ["question", "answer"]}),
        ("q,007\n", {"column_names": ["question", "answer"], "header": None}),
        ("x,y\nq,007\n", {"names": ["question", "answer"], "header": 0}),
        ("made by me\n\nquestion,answer\nq,007\n", {"skiprows": 1}),
        ("# made by me\nquestion,answer\nq,007\n", {"comment": "#"}),
        ("question,answer\nq,007\nr,8\n", {"nrows": 1}),
        ("id,question,answer\n1,q,007\n", {"usecols": ["question", "answer"]}),
        ("question,answer\n'q','007'\n", {"quotechar": "'"}),
        ("question, answer\nq, 007\n", {"skipinitialspace": True}),
        ("\ufeffquestion,answer\r\nq,007\r\n", {}),
        ("question,answer\nq,007,\n\n   \n", {}),
    ],
)
def test_layouts(suite: Suite, text: str, options: dict[str, Any]) -> None:
    assert read(suite, text, **options) == [{"question": "q", "answer": "007"}]


def test_a_cell_that_a_short_row_lacks_is_null(suite: Suite) -> None:
    assert read(suite, "question,answer\nr,8\nq\n")[1] == {"question": "q", "answer": None}


def test_nulls_are_read_where_the_task_asks_for_them(suite: Suite) -> None:
    text = "question,answer\nq,NA\nr,-\n"

    assert [row["answer"] for row in read(suite, text, na_values=["-"])] == ["NA", None]
    assert [row["answer"] for row in read(suite, text, keep_default_na=True)] == [None, "-"]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("question,answer\nq,1\nr,2,3\n", {}, "d.csv, row 3: has 3 cells, and the header 2"),
        ("question,answer,answer\nq,1,2\n", {}, "d.csv, row 1: the column 'answer' stands twice in the header"),
        ('question,answer\nq,1\n"r,2\n', {}, "d.csv, row 3: a quote opens here and never ends"),
        ("question;answer\nq;1\n", {}, "has one column, 'question;answer': it is not delimited by ','"),
        ("question,answer\nq,1\n", {"names": ["question", "answer"]}, "row 1: repeats the column names"),
        ("question,answer\nq,1\n", {"dtype": "str"}, "dataset_kwargs.dtype: the reader of csv has no such option"),
        ("question,answer\nq,1\n", {"dtype": "str"}, "hint: give a column its type by features"),
        ("question,answer\nq,1\n", {"split": "test"}, "hint: name the splits by data_files"),
        ("question,answer\nq,1\n", {"sep": "\\t"}, 'YAML writes a tab as "\\t" in double quotes'),
        ("question,answer\nq,1\n", {"sep": "::"}, "dataset_kwargs.sep: expected one character"),
        ("question,answer\nq,1\n", {"usecols": ["anwser"]}, "has no column 'anwser' (usecols); did you mean answer?"),
        ("question,answer\n", {}, "its data set is empty: d.csv (test_split: test) has no rows"),
        ("question,answer\nq,x\n", {"features": {"answer": "int64"}}, "d.csv, row 2, column 'answer': expected int64"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    suite: Suite, text: str, options: dict[str, Any], said: str
) -> None:
    message = refusal(suite, text, **options)

    assert said in message
    assert "task 't' cannot be loaded" in message


def test_an_encoding_is_named_where_another_one_is_used(suite: Suite) -> None:
    (suite.folder / "d.csv").write_bytes("question,answer\nq,1\nCafé?,2\n".encode("cp1252"))

    with pytest.raises(InputError) as caught:
        documents(suite)

    assert "d.csv, row 3: byte 0xe9 at position 24 is not utf-8" in str(caught.value)
    assert "dataset_kwargs: {encoding: cp1252}" in str(caught.value)
    assert documents(suite, encoding="cp1252")[1]["question"] == "Café?"


def test_utf_16_is_recognized_by_its_mark(suite: Suite) -> None:
    (suite.folder / "d.csv").write_bytes("question,answer\nq,1\n".encode("utf-16"))

    with pytest.raises(InputError, match="encoding: utf-16"):
        documents(suite)
    assert documents(suite, encoding="utf-16") == [{"question": "q", "answer": "1"}]


def test_compressed_files_are_read(suite: Suite) -> None:
    text = b"question,answer\nq,007\n"
    (suite.folder / "d.csv").write_bytes(gzip.compress(text))
    assert documents(suite) == [{"question": "q", "answer": "007"}]

    with zipfile.ZipFile(suite.folder / "d.csv", "w") as archive:
        archive.writestr("1.csv", text)
        archive.writestr("2.csv", text)
    assert len(documents(suite)) == 2

    (suite.folder / "d.csv").write_bytes(gzip.compress(text)[:-4])
    with pytest.raises(InputError, match=r"d.csv: .*end-of-stream"):
        documents(suite)


def test_a_workbook_is_named_as_one(suite: Suite) -> None:
    with zipfile.ZipFile(suite.folder / "d.csv", "w") as archive:
        archive.writestr("[Content_Types].xml", "")

    with pytest.raises(InputError, match="is an Office file; save the sheet as CSV"):
        documents(suite)


def test_the_loaders_own_types_are_used_where_the_task_allows_them(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    text = "question,answer\nq,007\n"

    assert read(suite, text, {**TASK, "metadata": {"evalrun": {"retyped": "allow"}}})[0]["answer"] == 7
    assert "expected allow, or nothing, got 'alow'" in refusal(
        suite, text, {**TASK, "metadata": {"evalrun": {"retyped": "alow"}}}
    )
