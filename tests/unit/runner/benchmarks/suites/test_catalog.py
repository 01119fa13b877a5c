"""A suite's YAML: every file is read, or refused with file and line; nothing is passed over silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.benchmarks.listing import list_tasks
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import InputError
from support.suites import Suite

TASK = """task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    made = Suite(tmp_path / "suite").with_data("rows", [{"question": "1+1", "answer": "2"}])
    return made.with_file("sums.yaml", TASK)


def load(suite: Suite, task: str = "sums", **fields: Any) -> Any:
    spec = BenchmarkSpec(task, task, source=suite.folder)
    return load_benchmarks([spec], seed=1, allow_code=False, **fields)


def refusal(suite: Suite, task: str = "sums") -> str:
    """The message of a run, which is that of a listing as well."""
    with pytest.raises(InputError) as run:
        load(suite, task)
    with pytest.raises(InputError) as listing:
        list(list_tasks(source=suite.folder))
    assert str(listing.value) == str(run.value)
    return str(run.value)


def test_a_key_that_stands_twice_is_refused_with_both_lines(suite: Suite) -> None:
    suite.with_file("sums.yaml", TASK + "dataset_kwargs: {data_files: {test: other.jsonl}}\n")

    assert "sums.yaml:12: dataset_kwargs: the key stands twice, first in line 3" in refusal(suite)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("metadata: {a: 1, b: {c: 1, c: 2}}\n", "sums.yaml:12: c: the key stands twice"),
        ("metadata: {1: a, 1: b}\n", "sums.yaml:12: 1: the key stands twice"),
        ("metadata:\n  <<: &x {a: 1, a: 2}\n", "sums.yaml:13: a: the key stands twice"),
    ],
)
def test_keys_that_stand_twice_are_found_at_every_depth(suite: Suite, text: str, named: str) -> None:
    suite.with_file("sums.yaml", TASK + text)

    assert named in refusal(suite)


def test_a_key_may_override_one_that_is_merged(suite: Suite) -> None:
    base = "metadata:\n  base: &base {version: 1, by: me}\n  own: {<<: *base, version: 2}\n"
    suite.with_file("sums.yaml", TASK + base)

    assert load(suite).leaves[0].name == "sums"


@pytest.mark.parametrize("copy", ["a_old.yaml", "backup/sums.yaml"])
def test_a_task_that_stands_in_two_files_is_refused_with_both(suite: Suite, copy: str) -> None:
    (suite.folder / "backup").mkdir()
    suite.with_file(copy, TASK)

    first, second = sorted([copy, "sums.yaml"])
    assert f"{second}:1: task: 'sums' is also the task of {first}:1; a name may stand once" in refusal(suite)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("group: sums\ntask: [sums]\n", "sums.yaml:1: task: 'sums' is also the group of other.yaml:1"),
        (
            TASK.replace("task: sums", "task: more\ntag: sums"),
            "other.yaml:2: tag: 'sums' is also the task of sums.yaml:1",
        ),
        ("include: sums.yaml\n", "sums.yaml:1: task: 'sums' is also the task of other.yaml:1"),
        (TASK.replace("task: sums", "task: 7"), "other.yaml:1: task: 7 is not text; put quotes round it"),
        ("task: [sums]\n", "other.yaml:1: task: is a list; a group names itself by group"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(suite: Suite, text: str, named: str) -> None:
    suite.with_file("other.yaml", text)

    assert named in refusal(suite)


@pytest.mark.parametrize("folder", [".ipynb_checkpoints", ".old", "__pycache__"])
def test_copies_in_hidden_folders_are_passed_over(suite: Suite, folder: str) -> None:
    (suite.folder / folder).mkdir()
    suite.with_file(f"{folder}/sums.yaml", TASK.replace("{{question}}", "OLD"))

    assert load(suite).leaves[0].task.config.doc_to_text == "{{question}}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TASK + "include: base.yaml\n", "sums.yaml:12: include: base.yaml is not there"),
        (TASK + "include: row.jsonl\n", "include: row.jsonl is not there; did you mean rows.jsonl?"),
        (TASK + "include: sums.yaml\n", "sums.yaml:12: include: sums.yaml includes this file again"),
        (TASK + "---\n" + TASK, "sums.yaml:13: holds 2 YAML documents; expected one"),
        ("task: sums\n\toutput_type: generate_until\n", "hint: YAML indents by spaces"),
        ("task: sums\ndoc_to_text: {{question}} Answer:\n", "hint: put quotes round a template"),
        ("task: sums\ndoc_to_text: {{question}}\n", "sums.yaml:2: a mapping or a list stands where a key is expected"),
    ],
)
def test_a_file_that_lm_eval_would_pass_over_is_named(suite: Suite, text: str, named: str) -> None:
    suite.with_file("sums.yaml", text)

    with pytest.raises(InputError) as caught:
        load(suite)

    assert named in str(caught.value)
    assert "no task at all" not in str(caught.value)


FOREIGN = [
    ("# nothing yet\n", "is empty"),
    ("", "is empty"),
    ("~\n", "is empty"),
    ("- repo: local\n", "is a list"),
    ("a note\n", "is a single value"),
    ("a: 1\n---\nb: 2\n", "holds 2 YAML documents"),
]


@pytest.mark.parametrize("text", [text for text, _ in FOREIGN])
def test_a_file_that_is_no_task_stops_no_other(suite: Suite, text: str) -> None:
    suite.with_file("aside.yaml", text)

    assert load(suite).leaves[0].name == "sums"
    assert [task.name for task in list_tasks(source=suite.folder)] == ["sums"]


@pytest.mark.parametrize(("text", "why"), FOREIGN)
def test_a_file_that_is_no_task_is_named_where_a_task_is_not_found(suite: Suite, text: str, why: str) -> None:
    suite.with_file("more.yaml", text)

    with pytest.raises(InputError, match=rf"there is no 'more' in the suite .*\. Passed over: more\.yaml {why}$"):
        load(suite, "more")


def test_an_include_of_a_file_without_settings_is_named(suite: Suite) -> None:
    suite.with_file("base.yaml", "# nothing yet\n").with_file("sums.yaml", "include: base.yaml\n" + TASK)

    assert "sums.yaml:1: include: base.yaml holds no settings of a task" in refusal(suite)


def test_a_yml_file_is_named_with_the_name_to_give_it(suite: Suite) -> None:
    suite.with_file("more.yml", TASK.replace("sums", "more"))

    assert "more.yml:1: lm-eval reads only *.yaml: rename it to more.yaml" in refusal(suite, "more")


def test_a_yml_file_that_is_included_is_no_task_of_its_own(suite: Suite) -> None:
    suite.with_file("base.yml", TASK).with_file("sums.yaml", "include: base.yml\n")

    assert load(suite).leaves[0].name == "sums"


def test_the_evalrun_itself_may_lie_in_the_suites_folder(suite: Suite) -> None:
    run = "apiVersion: evalrun.dev/v1alpha1\nkind: EvalRun\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Secret\n"
    suite.with_file("run.yaml", run)

    assert load(suite).leaves[0].name == "sums"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("doc_to_text", "doc_to_txt", "sums.yaml:6: doc_to_txt: lm-eval knows no such key; did you mean doc_to_text?"),
        (
            "aggregation: mean",
            "aggregation: maen",
            "sums.yaml:10: metric_list.aggregation: there is no 'maen'; did you",
        ),
        (
            "generate_until",
            "generate_untill",
            "output_type: there is no 'generate_untill'; did you mean generate_until?",
        ),
        (
            "- metric: exact_match",
            "- metrics: exact_match",
            "metric_list[0]: has no metric; did you mean it by metrics?",
        ),
    ],
)
def test_a_misspelt_name_is_refused_with_the_one_that_was_meant(suite: Suite, old: str, new: str, named: str) -> None:
    suite.with_file("sums.yaml", TASK.replace(old, new))

    with pytest.raises(InputError) as caught:
        load(suite)

    assert named in str(caught.value)


def test_a_misspelt_filter_and_few_shot_key_are_refused(suite: Suite) -> None:
    more = "filter_list:\n  - name: x\n    filter: [{function: regx}]\nfewshot_config: {samplr: first_n}\n"
    suite.with_file("sums.yaml", TASK + more)

    message = refusal(suite)

    assert "sums.yaml:14: filter_list.filter.function: there is no 'regx'; did you mean regex?" in message
    assert "sums.yaml:15: fewshot_config.samplr: lm-eval knows no such key; did you mean sampler?" in message


def test_a_misspelt_key_of_an_included_file_and_of_a_groups_member_is_placed(suite: Suite) -> None:
    suite.with_file("base", "doc_to_txt: x\n").with_file("sums.yaml", "include: base\n" + TASK)
    suite.with_file("all.yaml", "group: all\ntask:\n  - task: sums\n    num_fewshots: 2\n")

    message = refusal(suite)

    assert "base:1: doc_to_txt" in message
    assert "all.yaml:4: task.num_fewshots: lm-eval knows no such key; did you mean num_fewshot?" in message


def test_an_unknown_task_is_answered_by_the_listing_of_the_suite(suite: Suite) -> None:
    with pytest.raises(InputError, match=rf"did you mean sums\? `evalrun tasks --source {suite.folder}` lists"):
        load(suite, "summs")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("group: both\ntask: [both, sums]\n", "both.yaml:2: task: the groups hold each other: both > both"),
        (
            "group: both\ntask: [{group: more, task: [both]}]\n",
            "both.yaml:2: task: the groups hold each other: both > both",
        ),
        ("group: both\ntask:\n  - sums\n  - sums\n", "both.yaml:4: task: 'sums' stands twice, first in line 3"),
        (
            "group: both\ntask: [sums, {task: sums, num_fewshot: 0}]\n",
            "both.yaml:2: task: 'sums' stands twice",
        ),
        (
            "group: both\ntask: [sums]\naggregate_metric_list:\n  - {metric: exact_match, weight_by_sise: true}\n",
            "both.yaml:4: aggregate_metric_list[0].weight_by_sise: lm-eval knows no such key; did you mean weight_",
        ),
        (
            "group: both\ntask: [sums]\naggregate_metric_list: {metric: exact_match, weigh_by_size: true}\n",
            "both.yaml:3: aggregate_metric_list[0].weigh_by_size: lm-eval knows no such key; did you mean weight_",
        ),
        (
            "group: both\ntask: [{group: in, task: [sums], aggregate_metric_list: [{aggregation: mean}]}]\n",
            "both.yaml:2: task.aggregate_metric_list[0]: has no metric",
        ),
    ],
)
def test_what_a_group_cannot_mean_is_named_with_its_line(suite: Suite, text: str, named: str) -> None:
    suite.with_file("both.yaml", text)

    assert named in refusal(suite, "both")


def test_groups_that_hold_each_other_are_all_named(suite: Suite) -> None:
    suite.with_file("a.yaml", "group: a\ntask: [b, sums]\n").with_file("b.yaml", "group: b\ntask: [c]\n")
    suite.with_file("c.yaml", "group: c\ntask: [sums, a]\n")

    assert "a.yaml:2: task: the groups hold each other: a > b > c > a" in refusal(suite, "a")


def test_a_task_in_two_groups_of_a_group_is_no_cycle(suite: Suite) -> None:
    suite.with_file("a.yaml", "group: a\ntask: [b, c]\n").with_file("b.yaml", "group: b\ntask: [sums]\n")
    suite.with_file("c.yaml", "group: c\ntask: [sums]\n")

    assert {leaf.name for leaf in load(suite, "a").leaves} == {"sums"}
