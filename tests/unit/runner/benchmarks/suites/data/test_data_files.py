"""Data files of a suite: names are literal where a file has that name, patterns else; other formats than text."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalrun_runner.benchmarks.suites.data.splits import read_splits
from evalrun_runner.benchmarks.suites.policy import check_suite
from evalrun_runner.errors import InputError


def read(folder: Path, builder: str = "json", **options: Any) -> datasets.DatasetDict:
    return read_splits(folder, {"dataset_path": builder, "dataset_kwargs": options})


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"question": name}) + "\n")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("data [v1]/test.jsonl", ["data [v1]/test.jsonl"]),
        ("a*b.jsonl", ["a*b.jsonl"]),
        ("data/*.jsonl", ["data/1.jsonl", "data/2.jsonl"]),
        ("data/[12].jsonl", ["data/1.jsonl", "data/2.jsonl"]),
        ("data/?.jsonl", ["data/1.jsonl", "data/2.jsonl"]),
        ("**/1.jsonl", ["data/1.jsonl", "deep/er/1.jsonl"]),
        ("data [v1]/*.jsonl", ["data [v1]/test.jsonl"]),
        (["data/2.jsonl", "data/*.jsonl"], ["data/2.jsonl", "data/1.jsonl"]),
    ],
)
def test_names_and_patterns(tmp_path: Path, name: Any, found: list[str]) -> None:
    folder = tmp_path / "suite [new] *"
    write(folder, "data [v1]/test.jsonl", "a*b.jsonl", "axb.jsonl", "data/1.jsonl", "data/2.jsonl", "deep/er/1.jsonl")
    write(folder, "data/.hidden.jsonl", ".ipynb_checkpoints/1.jsonl")

    assert [row["question"] for row in read(folder, data_files={"test": name})["test"]] == found


@pytest.mark.parametrize(
    "given",
    [
        {"test": "1.jsonl", "dev": ["2.jsonl"]},
        [{"split": "test", "path": "1.jsonl"}, {"split": "dev", "path": ["2.jsonl"]}],
    ],
)
def test_forms_of_data_files(tmp_path: Path, given: Any) -> None:
    write(tmp_path, "1.jsonl", "2.jsonl")

    assert {split: rows[0]["question"] for split, rows in read(tmp_path, data_files=given).items()} == {
        "test": "1.jsonl",
        "dev": "2.jsonl",
    }


def test_files_without_a_split_are_the_training_split_as_in_datasets(tmp_path: Path) -> None:
    write(tmp_path, "1.jsonl")

    assert list(read(tmp_path, data_files="1.jsonl")) == ["train"]


def test_the_files_of_a_folder_make_splits_by_their_names(tmp_path: Path) -> None:
    write(tmp_path, "data/test.jsonl", "data/train-1.jsonl", "data/train-2.jsonl", "data/README.md")

    found = read(tmp_path, data_dir="data")

    assert {split: len(rows) for split, rows in found.items()} == {"train": 2, "test": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data_files": {"test": "tset.jsonl"}}, r"tset.jsonl is not in .*; did you mean test.jsonl\?"),
        ({"data_files": {"test": "x/*.jsonl"}}, r"no file matches x/\*.jsonl"),
        ({"data_files": {"test": "sub"}}, r"sub is a folder; name its files, for example sub/\*"),
        ({"data_files": {"test": 7}}, "data_files.test: expected a file's name or a list of names, got 7"),
        ({"data_files": [{"path": "test.jsonl"}]}, r"data_files\[0\]: expected the keys split and path"),
        ({"data_dir": "gone"}, "the folder gone .data_dir. is not in"),
        ({}, "dataset_kwargs has no data_files"),
    ],
)
def test_files_that_are_not_there_are_named(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    write(tmp_path, "test.jsonl", "sub/x.jsonl")

    with pytest.raises(InputError, match=said):
        read(tmp_path, **options)


@pytest.mark.parametrize("options", ["{data_files: {test: 'x[1]*.jsonl'}}", "{data_dir: sub}", "{data_dir: deep}"])
def test_a_link_out_of_the_suite_is_refused_however_it_is_reached(tmp_path: Path, options: str) -> None:
    outside = tmp_path / "outside"
    write(outside, "x.jsonl")
    suite = tmp_path / "suite"
    write(suite, "sub/1.jsonl", "deep/1.jsonl")
    (suite / "x[1]a.jsonl").symlink_to(outside / "x.jsonl")
    (suite / "sub" / "test.jsonl").symlink_to(outside / "x.jsonl")
    (suite / "deep" / "er").symlink_to(outside)
    (suite / "t.yaml").write_text(f"task: t\ndataset_path: json\ndataset_kwargs: {options}\n")

    with pytest.raises(InputError, match="a link to a file outside"):
        check_suite(suite.resolve(), allow_code=False)


def test_parquet_and_arrow_hold_text_where_json_has_no_type(tmp_path: Path) -> None:
    table = pa.table(
        {
            "price": [decimal.Decimal("1.50"), decimal.Decimal("2.00")],
            "day": [datetime.date(2024, 1, 31), None],
            "at": [datetime.datetime(2024, 1, 31, 12), None],
            "raw": [b"text", b"\xff"],
            "list": [[1, 2], []],
            "whole": pa.array([1, None], pa.int32()),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "inner": [{"day": datetime.date(2024, 1, 31)}, None],
        }
    )
    pq.write_table(table, tmp_path / "d.parquet")
    with pa.OSFile(str(tmp_path / "d.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    expected = {
        "price": "1.50",
        "day": "2024-01-31",
        "at": "2024-01-31 12:00:00",
        "raw": "text",
        "list": [1, 2],
        "whole": 1,
        "kind": "a",
        "inner": {"day": "2024-01-31"},
    }

    for builder in ("parquet", "arrow"):
        rows = list(read(tmp_path, builder, data_files={"test": f"d.{builder}"})["test"])
        assert rows[0] == expected
        assert rows[1]["whole"] is None
        assert read(tmp_path, builder, data_files={"test": f"d.{builder}"}, columns=["day"])["test"].column_names == [
            "day"
        ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["one", "two", "", "three"]),
        ({"keep_linebreaks": True}, ["one\n", "two\n", "\n", "three"]),
        ({"sample_by": "paragraph"}, ["one\ntwo", "three"]),
        ({"sample_by": "document"}, ["one\ntwo\n\nthree"]),
    ],
)
def test_text_files(tmp_path: Path, options: dict[str, Any], found: list[str]) -> None:
    (tmp_path / "d.txt").write_bytes(b"one\r\ntwo\n\nthree")

    assert list(read(tmp_path, "text", data_files={"test": "d.txt"}, **options)["test"]["text"]) == found


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    write(tmp_path, "d.parquet")

    with pytest.raises(InputError, match=r"its data cannot be read: d\.parquet: "):
        read(tmp_path, "parquet", data_files="d.parquet")
