"""Provenance of tasks: their versions and fingerprints of the data that they read."""

from __future__ import annotations

from typing import Any

from evalrun_runner.benchmarks.load import LoadedBenchmarks


def task_provenance(loaded: LoadedBenchmarks) -> dict[str, dict[str, Any]]:
    """Return, by leaf task: benchmark, version, data set and the ``datasets`` fingerprint of each split."""
    found = {}
    for leaf in loaded.leaves:
        data = getattr(leaf.task, "dataset", None) or {}
        found[leaf.name] = {
            "benchmark": leaf.benchmark.name,
            "version": leaf.task.VERSION,
            "dataset": leaf.task.DATASET_PATH,
            "datasetName": leaf.task.DATASET_NAME,
            "fingerprints": {str(split): getattr(rows, "_fingerprint", None) for split, rows in data.items()},
        }
    return found
