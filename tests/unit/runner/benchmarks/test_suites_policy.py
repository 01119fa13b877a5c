"""Suites of the user's own: code and foreign data are refused by name, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.benchmarks.suites.policy import check_suite
from evalrun_runner.errors import InputError

HARMLESS = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
filter_list:
  - name: first
    filter: [{function: regex, regex_pattern: "([0-9]+)"}, {function: take_first}]
metadata: {version: 1.0, class: maths}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "data.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n' * 3)
    (folder / "sums.yaml").write_text(HARMLESS)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        check_suite(folder.resolve(), allow_code=False)
    return str(caught.value)


def test_a_suite_of_data_passes(suite: Path) -> None:
    check_suite(suite, allow_code=False)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("process_docs: !function utils.process", "sums.yaml:19: process_docs: !function"),
        ("fewshot_config: {samples: !function utils.samples}", "fewshot_config.samples: !function"),
        ("repeats: !!python/object/apply:os.system [ls]", "repeats: tag:yaml.org,2002:python/object/apply:os.system"),
        ("doc_to_choice: [a, !function utils.choice]", "doc_to_choice: !function"),
        ("class: utils.Task", "class: stands for a Python class"),
        ("custom_dataset: utils.load", "custom_dataset: stands for"),
        ("use_prompt: 'promptsource:x'", "use_prompt: stands for"),
        ("metric_list: [{metric: exact_match, hf_evaluate: true}]", "metric_list.hf_evaluate: loads the metric's code"),
        ("metric_list: [{metric: mauve}]", "metric_list.metric: 'mauve' is no metric of lm-eval's own"),
        ("filter_list: [{name: x, filter: [{function: custom}]}]", "filter_list.filter.function: the filter 'custom'"),
        ("dataset_kwargs: {trust_remote_code: true}", "dataset_kwargs.trust_remote_code: stands for"),
        ("dataset_kwargs: {loader: x}", "dataset_kwargs.loader: the option 'loader'"),
        ("dataset_kwargs: {data_files: {test: /etc/passwd}}", "data_files.test: '/etc/passwd' is outside"),
        ("dataset_kwargs: {data_files: ../other/data.jsonl}", "data_files: '../other/data.jsonl' leaves"),
        (
            "dataset_kwargs: {data_files: [data.jsonl, 'http://169.254.169.254/x']}",
            "'http://169.254.169.254/x' is a URL",
        ),
        ("dataset_kwargs: {data_dir: /etc}", "data_dir: '/etc' is outside"),
        ("dataset_path: ./loader.py", "dataset_path: './loader.py' is neither"),
        ("dataset_path: pandas", "dataset_path: 'pandas' is neither"),
        ("dataset_path: /data/set", "dataset_path: '/data/set' is neither"),
        ("include: ../other.yaml", "include: "),
        ("include: [/etc/hosts]", "include: /etc/hosts is outside"),
    ],
)
def test_code_and_foreign_data_are_refused_by_name(suite: Path, line: str, named: str) -> None:
    key = line.split(":", maxsplit=1)[0]
    kept = yaml_without(HARMLESS, key)
    (suite / "sums.yaml").write_text(kept + line + "\n")

    assert named.replace("sums.yaml:19:", f"sums.yaml:{len(kept.splitlines()) + 1}:") in refusal(suite)


def yaml_without(text: str, key: str) -> str:
    """The YAML without a top-level key and what is below it."""
    lines: list[str] = []
    skipping = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            skipping = line.startswith(f"{key}:")
        if not skipping:
            lines.append(line)
    return "\n".join(lines) + "\n"


def test_included_files_count(suite: Path) -> None:
    (suite / "_template").write_text("process_results: !function utils.score\n")
    (suite / "sums.yaml").write_text("include: _template\n" + HARMLESS)

    assert "_template:1: process_results: !function" in refusal(suite)


def test_a_group_cannot_give_its_members_code(suite: Path) -> None:
    (suite / "all.yaml").write_text("group: all\ntask:\n  - task: sums\n    class: x\n")

    assert "all.yaml:4: task.class" in refusal(suite)


def test_a_merge_key_hides_nothing(suite: Path) -> None:
    (suite / "sums.yaml").write_text("base: &base {class: x}\n<<: *base\n" + HARMLESS)

    assert "sums.yaml:1: class" in refusal(suite)


@pytest.mark.parametrize("name", ["linked.jsonl", "linked.yaml"])
def test_links_out_of_the_folder_are_refused(suite: Path, name: str) -> None:
    outside = suite.parent / "outside.txt"
    outside.write_text("task: outside\n")
    (suite / name).symlink_to(outside)
    (suite / "sums.yaml").write_text(HARMLESS.replace("data.jsonl", "'*.jsonl'"))

    assert "a link to a file outside" in refusal(suite)


def test_all_findings_are_reported_together(suite: Path) -> None:
    (suite / "sums.yaml").write_text(HARMLESS + "use_prompt: x\nclass: x\n" * 8)

    message = refusal(suite)

    assert message.count("sums.yaml:") == 10
    assert "and 6 more" in message
    assert "--allow-code" in message


def test_trusted_suites_may_contain_code(suite: Path) -> None:
    (suite / "sums.yaml").write_text(HARMLESS + "class: x\n")

    check_suite(suite, allow_code=True)


@pytest.mark.parametrize("allow_code", [True, False])
@pytest.mark.parametrize(("text", "said"), [("task: [", "is not YAML"), ("a: &a [*a]", "contains itself")])
def test_a_file_that_is_not_yaml_is_reported(suite: Path, text: str, said: str, allow_code: bool) -> None:
    (suite / "broken.yaml").write_text(text)

    with pytest.raises(InputError, match=f"broken.yaml.* {said}"):
        check_suite(suite, allow_code=allow_code)


def test_endless_aliases_are_refused(suite: Path) -> None:
    layers = ["a0: &a0 {x: 1, y: 2}"] + [f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}" for i in range(1, 30)]
    (suite / "laughs.yaml").write_text("\n".join(layers))

    assert "more than 100000 settings" in refusal(suite)


@pytest.mark.parametrize(("make", "said"), [(None, "not there"), ("file", "a file"), ("empty", r"no \*.yaml")])
def test_a_folder_that_is_not_a_suite_is_reported(tmp_path: Path, make: str | None, said: str) -> None:
    folder = tmp_path / "suite"
    if make == "file":
        folder.write_text("x")
    elif make == "empty":
        folder.mkdir()

    with pytest.raises(InputError, match=said):
        check_suite(folder, allow_code=False)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ ''.__class__.__mro__ }}", "sandbox refuses"),
        ("{{ question.__init__.__globals__ }}", "sandbox refuses"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "sandbox refuses"),
        ("{{ [1].append(2) }}", "sandbox refuses"),
        ("{{ nothing }}", "does not have"),
        ("{% if %}", "syntax error"),
    ],
)
def test_templates_render_in_the_sandbox(suite: Path, template: str, said: str) -> None:
    config: dict[str, Any] = {**yaml.safe_load(HARMLESS), "doc_to_text": template}
    (suite / "sums.yaml").write_text(yaml.safe_dump(config))

    with pytest.raises(InputError, match=f"task 'sums'.* {said}"):
        load_and_build(suite)


def load_and_build(suite: Path) -> None:
    loaded = load_benchmarks([BenchmarkSpec("sums", "sums", source=suite)], seed=1, allow_code=False)
    for leaf in loaded.leaves:
        list(iter_items(leaf, None))
