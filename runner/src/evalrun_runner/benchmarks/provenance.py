"""Where a task's numbers come from: its version, and a fingerprint of the data it read."""

from __future__ import annotations

from evalrun_api.wire.outputs import RecordedTask
from evalrun_runner.benchmarks.load import LoadedBenchmarks


def task_provenance(loaded: LoadedBenchmarks) -> dict[str, RecordedTask]:
    """Describe each leaf task: benchmark, version, data set and the ``datasets`` fingerprint of each of its splits."""
    found = {}
    for leaf in loaded.leaves:
        data = getattr(leaf.task, "dataset", None) or {}
        found[leaf.name] = RecordedTask(
            benchmark=leaf.benchmark.name,
            version=leaf.task.VERSION,
            dataset=leaf.task.DATASET_PATH,
            dataset_name=leaf.task.DATASET_NAME,
            fingerprints={str(split): getattr(rows, "_fingerprint", None) for split, rows in data.items()},
        )
    return found
