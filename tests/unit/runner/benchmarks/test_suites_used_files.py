"""Which files of a suite a benchmark uses, of a folder that holds more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evalrun_runner.benchmarks.suites.used_files import digest_used_files

TASK = "task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    write(folder, "a.yaml", TASK.format(name="a", data="a.json"))
    write(folder, "a.json", "[]")
    return folder


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def used(folder: Path, benchmark: str = "a") -> list[str]:
    return list(digest_used_files(folder, benchmark))


def test_what_lies_beside_a_task_and_its_data_does_not_count(suite: Path) -> None:
    before = digest_used_files(suite, "a")
    assert list(before) == ["a.json", "a.yaml"]
    write(suite, "run.yaml", "apiVersion: evalrun.dev/v1alpha1\nkind: EvalRun\nspec: {benchmarks: [{task: a}]}\n")
    for noise in (
        *("README.md", ".git/HEAD", ".ipynb_checkpoints/a-checkpoint.yaml", "out/results.json", "out/plan.json"),
        *("other.json", "__pycache__/x.pyc"),
    ):
        write(suite, noise, "task: a")
    write(suite, "other.yaml", TASK.format(name="other", data="other.json"))
    assert digest_used_files(suite, "a") == before
    write(suite, "a.json", "[1]")
    assert digest_used_files(suite, "a") != before


def test_includes_count_through_every_level(suite: Path) -> None:
    write(suite, "a.yaml", "include: base/one.yaml\ntask: a\n")
    write(suite, "base/one.yaml", "include: two.yaml\n")
    write(suite, "base/two.yaml", "dataset_path: json\ndataset_kwargs: {data_files: a.json}\ninclude: one.yaml\n")
    assert used(suite) == ["a.json", "a.yaml", "base/one.yaml", "base/two.yaml"]


def test_a_task_whose_name_is_included_counts(suite: Path) -> None:
    write(suite, "a.yaml", "include: names.yaml\ndataset_path: json\ndataset_kwargs: {data_files: a.json}\n")
    write(suite, "names.yaml", "task: a\n")
    assert used(suite) == ["a.json", "a.yaml", "names.yaml"]


def test_a_group_counts_with_all_its_members_and_a_member_alone(suite: Path) -> None:
    write(suite, "b.yaml", TASK.format(name="b", data="b.json"))
    write(suite, "c.yaml", TASK.format(name="c", data="c.json") + "tag: tagged\n")
    for name in "bcd":
        write(suite, f"{name}.json", "[]")
    write(
        suite,
        "all.yaml",
        "group: all\ntask:\n  - a\n  - task: b\n    num_fewshot: 2\n  - group: inner\n    task: [tagged]\n"
        "  - task: inline\n    dataset_path: json\n    dataset_kwargs: {data_files: d.json}\n",
    )
    assert used(suite, "all") == [*("a.json", "a.yaml", "all.yaml", "b.json", "b.yaml", "c.json", "c.yaml", "d.json")]
    assert used(suite, "tagged") == ["c.json", "c.yaml"]
    assert used(suite, "b") == ["b.json", "b.yaml"]


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ("data_files: {train: a.json, test: [data/x.json, data/y.json]}", ["a.json", "data/x.json", "data/y.json"]),
        ("data_files: {test: data/*.json}", ["data/x.json", "data/y.json"]),
        ("data_files: '**/y.json'", ["data/deep/y.json", "data/y.json"]),
        ("data_files: [{split: test, path: data/x.json}]", ["data/x.json"]),
        ("data_dir: data", ["data/deep/y.json", "data/x.json", "data/y.json"]),
        ("data_files: {test: 'x [1].json'}", ["x [1].json"]),
        ("data_files: {test: missing.json}", []),
    ],
)
def test_data_files_count_as_they_are_named(suite: Path, kwargs: str, expected: list[str]) -> None:
    for name in ("data/x.json", "data/y.json", "data/deep/y.json", "x [1].json"):
        write(suite, name, "[]")
    write(suite, "a.yaml", f"task: a\ndataset_path: json\ndataset_kwargs: {{{kwargs}}}\n")
    assert used(suite) == sorted(["a.yaml", *expected])


def test_names_of_files_on_a_hub_are_not_files_of_the_suite(suite: Path) -> None:
    write(suite, "a.yaml", "task: a\ndataset_path: org/data\ndataset_kwargs: {data_files: '*.json'}\n")
    assert used(suite) == ["a.yaml"]


def test_where_a_task_refers_to_code_every_file_counts_that_it_might_read(suite: Path) -> None:
    write(suite, "a.yaml", TASK.format(name="a", data="a.json") + "process_docs: !function utils.process\n")
    for name in ("utils.py", "lib/helper.py", "words.txt", "lib/table.csv", "README.md", "run.yaml", ".hidden"):
        write(suite, name, "x")
    write(suite, "out/plan.json", "{}")
    write(suite, "out/parts/a/0.parquet", "")
    assert used(suite) == ["a.json", "a.yaml", "lib/helper.py", "lib/table.csv", "utils.py", "words.txt"]


def test_nothing_outside_the_suite_is_read_or_searched(suite: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless")
    write(tmp_path, "outside.yaml", "task: a")
    (suite / "link.json").symlink_to("/proc/kcore")
    write(
        suite,
        "a.yaml",
        "task: a\ninclude: [../endless, /dev/zero, ../outside.yaml]\ndataset_path: json\n"
        "dataset_kwargs: {data_dir: /, data_files: [/proc/**, ../**, link.json, 's3://bucket/x']}\n",
    )
    write(suite, "b.yaml", "task: b\ndataset_path: /\n")
    assert used(suite) == ["a.yaml"]
    assert used(suite, "b") == ["b.yaml"]


def test_a_file_that_is_not_yaml_is_left_to_the_suite_policy(suite: Path) -> None:
    write(suite, "broken.yaml", "a: [\n")
    assert used(suite) == ["a.json", "a.yaml"]
