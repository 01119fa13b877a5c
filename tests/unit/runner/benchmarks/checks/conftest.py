"""A suite of a few rows, and a way to load one task of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from support.suites import Suite

ROWS: list[dict[str, Any]] = [
    {"question": f"{i} + 1 =", "answer": str(i + 1), "options": [str(i), str(i + 1)], "gold": 1} for i in range(9)
]
GENERATE: dict[str, Any] = {"doc_to_text": "{{question}}", "doc_to_target": "{{answer}}"}
CHOOSE: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "options",
    "doc_to_target": "gold",
}

Load = Callable[..., LoadedBenchmarks]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path / "suite").with_data("rows", ROWS)


@pytest.fixture
def load(suite: Suite) -> Load:
    """Write the task ``sums`` with a configuration, and load it with the fields of a benchmark."""

    def load(config: dict[str, Any], *, data: str = "rows", **fields: Any) -> LoadedBenchmarks:
        suite.with_task("sums", **{**suite.reading(data), **config})
        return load_benchmarks([BenchmarkSpec("sums", "sums", source=suite.folder, **fields)], seed=3, allow_code=True)

    return load
