"""Number of examples against the documents that they are drawn from."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.checks.fewshot import check_fewshot
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.errors import InputError
from support.suites import Suite

from .conftest import CHOOSE, GENERATE, ROWS, Load


def found(loaded: LoadedBenchmarks) -> list[str]:
    return [f"{objection.what}; {objection.hint}" for objection in check_fewshot(loaded)]


def from_train(suite: Suite, count: int, **config: Any) -> dict[str, Any]:
    suite.with_data("train", ROWS[:count])
    return {**GENERATE, **suite.reading("rows", train="train"), "training_split": "train", **config}


def test_more_examples_than_documents_are_found_with_both_numbers(suite: Suite, load: Load) -> None:
    (objection,) = found(load(from_train(suite, 2, fewshot_split="train", num_fewshot=5)))

    assert objection.startswith("num_fewshot is 5, the split train has 2 documents; ")
    assert "set numFewshot of benchmark sums to 2 or less" in objection


def test_the_number_of_the_benchmark_counts(suite: Suite, load: Load) -> None:
    config = from_train(suite, 2)

    assert found(load(config, num_fewshot=2)) == []
    assert len(found(load(config, num_fewshot=3))) == 1


def test_a_document_is_never_its_own_example(load: Load) -> None:
    config = {**GENERATE, "fewshot_split": "test"}

    assert found(load(config, num_fewshot=len(ROWS) - 1)) == []
    (objection,) = found(load(config, num_fewshot=len(ROWS)))
    assert objection.startswith(
        "num_fewshot is 9, the split test has 9 documents, and the one that is asked is never its own example: "
        "expected at least 10"
    )


def test_examples_that_stand_in_the_task_are_counted(load: Load) -> None:
    config = {**GENERATE, "fewshot_config": {"sampler": "first_n", "samples": ROWS[:3]}}

    assert found(load(config, num_fewshot=3)) == []
    (objection,) = found(load(config, num_fewshot=4))
    assert objection.startswith("num_fewshot is 4, fewshot_config.samples has 3 documents")


@pytest.mark.parametrize("sampler", ["default", "first_n"])
@pytest.mark.parametrize("config", [GENERATE, CHOOSE])
@pytest.mark.parametrize("split", ["test", None])
@pytest.mark.parametrize("shots", [1, 8, 9, 10])
def test_what_is_found_is_what_cannot_be_built(
    load: Load, config: dict[str, Any], split: str | None, sampler: str, shots: int
) -> None:
    own = {"fewshot_split": split} if split else {}
    loaded = load({**config, **own, "fewshot_config": {"sampler": sampler}}, num_fewshot=shots)
    try:
        next(iter_items(loaded.leaves[0], None))
        built = True
    except InputError:
        built = False

    assert (found(loaded) == []) is built
