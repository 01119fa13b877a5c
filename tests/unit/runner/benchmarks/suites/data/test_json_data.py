"""JSON data of a suite: values have the types and the digits that stand in the file, each row its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.provenance import task_provenance
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.benchmarks.suites.data import batches, json_rows, tables
from evalrun_runner.benchmarks.suites.data.splits import read_splits
from evalrun_runner.errors import InputError
from support.suites import Suite

TASK: dict[str, Any] = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "d.jsonl"}},
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite")


def read(suite: Suite, text: str, **options: Any) -> list[dict[str, Any]]:
    """The documents of these JSON lines, read without lm-eval."""
    suite.with_file("d.jsonl", text)
    config = {**TASK, "dataset_kwargs": {"data_files": {"test": "d.jsonl"}, **options}}
    return list(read_splits(suite.folder, config)["test"])


def answers(suite: Suite, *written: str, **options: Any) -> list[Any]:
    lines = "".join(f'{{"question": "q", "answer": {one}}}\n' for one in written)
    return [row["answer"] for row in read(suite, lines, **options)]


def load(suite: Suite, *, allow_code: bool = False, **config: Any) -> Any:
    suite.with_task("t", **{**TASK, **config})
    return load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder)], seed=1, allow_code=allow_code)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (['"2024-01-31"', '"2024-02-29"'], ["2024-01-31", "2024-02-29"]),
        (['"2024-01-31T10:00:00Z"'], ["2024-01-31T10:00:00Z"]),
        (["7", "8"], [7, 8]),
        (["7", "2.5"], [7, 2.5]),
        (["1.5", "2.0"], [1.5, 2.0]),
        (["0.5", "0.10"], ["0.5", "0.10"]),
        (["1e5", "3.1415926535897932385"], ["1e5", "3.1415926535897932385"]),
        (["12345678901234567890", "1"], [12345678901234567890, 1]),
        (["7", '"7"'], [7, "7"]),
        (['"007"', '"NA"'], ["007", "NA"]),
        (["null", '"x"'], [None, "x"]),
        (["null", "null"], [None, None]),
        (["true", "1"], [True, 1]),
        (['["a"]', '"b"', '{"c": 1.50}'], [["a"], "b", {"c": "1.50"}]),
        (['{"a": 1}', '{"b": "2024-01-31"}'], [{"a": 1}, {"b": "2024-01-31"}]),
        (['"\\ud83d"', '"x"'], ["\ud83d", "x"]),
    ],
)
def test_a_value_is_what_stands_in_the_file(suite: Suite, written: list[str], found: list[Any]) -> None:
    read_values = answers(suite, *written)

    assert read_values == found
    assert [type(value) for value in read_values] == [type(value) for value in found]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, min_size=1), min_size=1, max_size=8), st.integers(1, 3))
def test_every_value_survives_whatever_stands_in_other_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], in_a_batch: int
) -> None:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "ROWS", in_a_batch)
        patch.setattr(tables, "LARGE_BYTES", 100)
        patch.setattr(json_rows, "LEARNED_BYTES", 1)
        patch.setattr(json_rows, "BLOCK_BYTES", in_a_batch * 10)
        found = list(read_splits(folder, TASK)["test"])

    columns = found[0].keys()
    expected = [{column: row.get(column) for column in columns} for row in rows]
    assert json.dumps(found) == json.dumps(expected)


PLAIN = st.fixed_dictionaries(
    {"a": st.text(), "b": st.integers(), "c": st.floats(allow_nan=False, allow_infinity=False)},
    optional={"d": st.lists(st.text(), max_size=2), "e": st.booleans(), 'f"c": 1': st.text()},
)


@given(st.lists(PLAIN, min_size=2, max_size=8), st.booleans())
def test_rows_of_plain_columns_survive_by_the_fast_parser_too(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    folder = tmp_path_factory.mktemp("suite")
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    (folder / "d.jsonl").write_bytes(text.encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "LEARNED_BYTES", 1)
        found = list(read_splits(folder, TASK)["test"])

    assert [{name: row.get(name) for name in found[0]} for row in rows] == found
    assert [repr(row["c"]) for row in found] == [repr(row["c"]) for row in rows]


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ('{"a": 1, "a": 2}', "row 3: the key 'a' stands twice"),
        ('{"a": 3} {"a": 4}', "row 3: is not JSON: more than one value in a line"),
        ('{"a": 3,}', "row 3: is not JSON"),
        ("[3]", "row 3: is a list; expected an object"),
        ("\xff", "row 3: byte 0xff at position 19 is not utf-8"),
    ],
)
def test_a_fault_behind_the_first_rows_is_named_as_well(
    suite: Suite, later: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "LEARNED_BYTES", 1)
    (suite.folder / "d.jsonl").write_bytes(b'{"a": 1}\n{"a": 2}\n' + later.encode("latin-1") + b"\n")

    with pytest.raises(InputError) as caught:
        read_splits(suite.folder, TASK)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("1", "1.5", [1, 1.5]),
        ("1.5", "1.50", ["1.5", "1.50"]),
        ("1.5", "2", [1.5, 2]),
        ("null", '"x"', [None, "x"]),
        ('"x"', '"2024-01-31T00:00:00"', ["x", "2024-01-31T00:00:00"]),
        ('["a"]', '["b", null]', [["a"], ["b", None]]),
        ('["a"]', "[1]", [["a"], [1]]),
        ("1", "123456789012345678901", [1, 123456789012345678901]),
        ('{"c": 1}', '{"c": "x"}', [{"c": 1}, {"c": "x"}]),
    ],
)
def test_types_that_change_behind_the_first_rows_are_kept(
    suite: Suite, first: str, second: str, found: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "LEARNED_BYTES", 1)

    assert answers(suite, first, second) == found


def test_columns_that_no_template_names_do_not_matter(suite: Suite) -> None:
    suite.with_file(
        "d.jsonl",
        '{"question": "q", "answer": "a", "added": "2024-01-31", "by": {"name": "x", "at": [1, 2.50]}}\n'
        '{"question": "r", "answer": "b", "added": null, "by": 7}\n',
    )

    (leaf,) = load(suite).leaves

    assert [item.doc["added"] for item in iter_items(leaf, None)] == ["2024-01-31", None]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('[{"question": "q", "answer": 1.50}]', {}),
        ('\ufeff{"question": "q", "answer": 1.50}\r\n\r\n', {}),
        ('{\n  "question": "q",\n  "answer": 1.50\n}\n', {}),
        ('{\n"question": ["q"],\n"answer": [1.50]\n}\n', {}),
        ('{"version": 1, "rows": [{"question": "q", "answer": 1.50}]}', {"field": "rows"}),
        ('{"rows": {"question": ["q"], "answer": [1.50]}}', {"field": "rows"}),
    ],
)
def test_forms_of_json(suite: Suite, text: str, options: dict[str, Any]) -> None:
    assert read(suite, text, **options) == [{"question": "q", "answer": "1.50"}]


def test_objects_one_after_another_are_rows(suite: Suite) -> None:
    text = '{\n"question": "q"\n}\n{\n"question": "r"\n}\n'

    assert [row["question"] for row in read(suite, text)] == ["q", "r"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}\n{"a": }\n', "d.jsonl, row 2: is not JSON: Expecting value at character 7"),
        ('{"a": 1}\n{"a": 2} {"a": 3}\n', "d.jsonl, row 2: is not JSON: more than one value in a line"),
        ('{"a": 1}\n[1]\n', "d.jsonl, row 2: is a list; expected an object"),
        ('{"a": 1, "a": 2}\n', "d.jsonl, row 1: the key 'a' stands twice in one object"),
        ('{"a": 007}\n', "d.jsonl, row 1: is not JSON"),
        ('[{"a": 1}, {"a": 2}', "d.jsonl, row 1: is not JSON: expected a comma or the end of the array"),
        ('[{"a": 1}, 7]', "d.jsonl, row 2: is a single value; expected an object"),
        ('{"question": \n[', "d.jsonl, row 2: is not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_its_row(suite: Suite, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(suite, text)

    assert said in str(caught.value)


def test_a_field_that_is_not_there_is_answered_by_those_that_are(suite: Suite) -> None:
    with pytest.raises(InputError, match="has no field 'data'; expected one of rows"):
        read(suite, '{"rows": []}', field="data")


@pytest.mark.parametrize(
    ("features", "found"),
    [
        ({"answer": {"dtype": "string"}}, ["7", "1.50"]),
        ({"answer": "float64"}, [7.0, 1.5]),
        ([{"name": "answer", "dtype": "string"}], ["7", "1.50"]),
        ({"answer": {"dtype": "string", "_type": "Value"}}, ["7", "1.50"]),
    ],
)
def test_a_column_has_the_type_that_the_task_gives_it(suite: Suite, features: Any, found: list[Any]) -> None:
    assert answers(suite, "7", "1.50", features=features) == found


@pytest.mark.parametrize(
    ("features", "written", "found"),
    [
        ({"answer": {"list": "string"}}, '["a", 1]', ["a", "1"]),
        ({"answer": ["int64"]}, "[1, 2]", [1, 2]),
        ({"answer": {"a": {"dtype": "string"}}}, '{"a": 1.50, "b": 2}', {"a": "1.50"}),
        ({"answer": {"struct": [{"name": "a", "dtype": "int64"}]}}, '{"a": 1}', {"a": 1}),
        ({"answer": {"class_label": {"names": ["no", "yes"]}}}, '"yes"', 1),
        ({"answer": {"class_label": {"names": {"0": "no", "1": "yes"}}}}, "0", 0),
        ({"answer": "bool"}, '"true"', True),
        ({"answer": "int64"}, '"-7"', -7),
    ],
)
def test_forms_of_features(suite: Suite, features: Any, written: str, found: Any) -> None:
    assert answers(suite, written, features=features) == [found]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"answer": {"dtype": "str"}}, "features.answer: there is no dtype 'str' .*did you mean string?"),
        ({"answer": {"dtype": "date32"}}, "features.answer: there is no dtype 'date32' for documents, which are JSON"),
        ({"answer": {"_type": "Image"}}, "features.answer: the feature Image is not supported"),
        ({"anwser": "string"}, r"features.anwser: no data file has this column; did you mean answer\?"),
        ({"answer": 7}, "features.answer: expected {dtype: type}, got 7"),
        ("string", "features: expected {column: {dtype: type}}"),
        ({"answer": "int64"}, "d.jsonl, row 2, column 'answer': expected int64"),
    ],
)
def test_features_that_cannot_be_are_named(suite: Suite, features: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        answers(suite, "700", '"x"', features=features)


def test_a_number_that_the_given_type_does_not_hold_is_placed(suite: Suite) -> None:
    with pytest.raises(InputError, match=r"d\.jsonl, row 2, column 'answer': expected int8 .*got 700"):
        answers(suite, "7", "700", features={"answer": "int8"})


def test_splits_of_two_types_are_refused_with_files_rows_and_types(suite: Suite) -> None:
    suite.with_file("d.jsonl", '{"question": "q", "answer": 7}\n')
    suite.with_file("train.jsonl", '{"question": "q", "answer": "7", "note": "n"}\n')
    kwargs = {"data_files": {"test": "d.jsonl", "train": "train.jsonl"}}

    with pytest.raises(InputError) as caught:
        load(suite, dataset_kwargs=kwargs, fewshot_split="train")

    assert (
        "the column 'answer' has two types: d.jsonl, row 1, holds a number (7), train.jsonl, row 1, holds text ('7')"
    ) in str(caught.value)
    assert load(suite, dataset_kwargs={**kwargs, "features": {"answer": "string"}}, fewshot_split="train").leaves


def test_splits_may_differ_in_columns_that_the_task_does_not_use(suite: Suite) -> None:
    suite.with_file("d.jsonl", '{"question": "q", "answer": "7", "note": 1}\n')
    suite.with_file("train.jsonl", '{"question": "q", "answer": "7", "note": "n"}\n')

    assert load(suite, dataset_kwargs={"data_files": {"test": "d.jsonl", "train": "train.jsonl"}}).leaves


def test_a_large_table_lies_in_a_file_that_is_gone_with_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGE_BYTES", 0)
    monkeypatch.setattr(batches, "ROWS", 2)

    assert answers(suite, "null", "null", "1", "2", '"x"') == [None, None, 1, 2, "x"]


def test_fingerprints_are_those_of_content_and_options(suite: Suite) -> None:
    def fingerprint(text: str, **options: Any) -> Any:
        suite.with_file("d.jsonl", text)
        loaded = load(suite, dataset_kwargs={"data_files": {"test": "d.jsonl"}, **options})
        return task_provenance(loaded)["t"].fingerprints["test"]

    row = '{"question": "q", "answer": "a"}\n'

    assert fingerprint(row) == fingerprint(row)
    assert len({fingerprint(row), fingerprint(row + row), fingerprint(row, features={"answer": "string"})}) == 3


def test_code_of_a_trusted_suite_works_on_the_rows(suite: Suite) -> None:
    suite.with_file("d.jsonl", '{"question": "q", "answer": 1, "choices": ["a", 7], "by": {"x": 1}}\n')
    suite.with_file(
        "code.py",
        "def docs(rows):\n"
        "    rows = rows.filter(lambda doc: doc['by']['x'] == 1)\n"
        "    return rows.map(lambda doc: {'choices': '7', 'more': [str(one) for one in doc['choices']]})\n",
    )
    (suite.folder / "t.yaml").unlink(missing_ok=True)
    task = suite.with_task("t", **TASK).folder / "t.yaml"
    task.write_text(task.read_text() + "process_docs: !function code.docs\n")

    (leaf,) = load_benchmarks([BenchmarkSpec("t", "t", source=suite.folder)], seed=1, allow_code=True).leaves

    assert list(leaf.task.eval_docs) == [
        {"question": "q", "answer": 1, "choices": "7", "by": {"x": 1}, "more": ["a", "7"]}
    ]
