"""Each adapter has a column of leaf tasks and groups, which ask what the model itself is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.benchmarks.adapter_columns import column_name, plain_name
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.records.draw import SampleDraw
from support.suites import Suite

NAMES = st.from_regex(r"[^\s/,]{1,20}", fullmatch=True)
ADAPTERS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


def load(folder: Path, *adapters: str) -> LoadedBenchmarks:
    rows = [{"q": f"question {n}", "a": str(n)} for n in range(30)]
    suite = Suite(folder).with_data("rows", rows)
    for name in ("one", "two"):
        suite.with_task(
            name, data="rows", output_type="generate_until", doc_to_text="{{q}}", doc_to_target="{{a}}", num_fewshot=2,
            fewshot_split="test", metric_list=[{"metric": "exact_match"}],
        )  # fmt: skip
    suite.with_group("pair", ["one", "two"])
    spec = BenchmarkSpec("pair", "pair", source=suite.folder, sample=SampleDraw(5, size=4))
    return load_benchmarks([spec], seed=7, allow_code=False, adapters=adapters)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedBenchmarks:
    return load(tmp_path_factory.mktemp("suite"), "x", "y")


def test_columns_have_names_and_groups_of_their_own(loaded: LoadedBenchmarks) -> None:
    assert [(leaf.name, leaf.benchmark.adapter) for leaf in loaded.leaves] == [
        *(("one", None), ("two", None), ("one@x", "x"), ("two@x", "x"), ("one@y", "y"), ("two@y", "y"))
    ]
    members = {name: [task.task_name for task in group.get_all_tasks()] for name, group in loaded.groups.items()}
    assert members == {"pair": ["one", "two"], "pair@x": ["one@x", "two@x"], "pair@y": ["one@y", "two@y"]}


def test_every_column_asks_the_same_prompts_of_the_same_documents(loaded: LoadedBenchmarks, tmp_path: Path) -> None:
    asked = {
        leaf.name: [(item.doc_id, item.requests) for item in iter_items(leaf, None)]
        for benchmarks in (loaded, load(tmp_path / "alone"))
        for leaf in benchmarks.leaves
    }
    assert len(asked["one"]) == 4
    assert asked["one"] == asked["one@x"] == asked["one@y"]
    assert asked["two"] == asked["two@x"] == asked["two@y"]


def test_an_items_hash_tells_the_columns_apart(loaded: LoadedBenchmarks) -> None:
    hashes = [item.hash for leaf in loaded.leaves for item in iter_items(leaf, None)]
    assert len(set(hashes)) == len(hashes) == 24


def test_recipes_of_columns_remake_the_task_itself(loaded: LoadedBenchmarks) -> None:
    recipe = loaded.leaf("one@y").recipe
    assert TaskRecipe.from_json(recipe.to_json()) == recipe
    assert recipe.config == loaded.leaf("one").recipe.config


@given(name=NAMES, adapter=st.none() | ADAPTERS)
def test_a_columns_name_leads_back_to_its_task(name: str, adapter: str | None) -> None:
    assert plain_name(column_name(name, adapter), adapter) == name


@given(task=NAMES.filter(lambda name: "@" not in name), adapters=st.sets(ADAPTERS, min_size=2, max_size=5))
def test_columns_of_different_adapters_never_share_a_name(task: str, adapters: set[str]) -> None:
    assert len({column_name(task, adapter) for adapter in (None, *adapters)}) == len(adapters) + 1
