"""Item scores that lm-eval wrote with ``--log_samples``: ``results_<time>.json`` and ``samples_<task>_<time>.jsonl``.

Samples are read when their task is asked for; see ``lm_eval_samples``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from evalrun_runner.comparing.declared_clusters import cluster_field, cluster_numbers
from evalrun_runner.comparing.facts import RunFacts, facts_of
from evalrun_runner.comparing.lm_eval_samples import TaskSamples
from evalrun_runner.comparing.scored import IntArray, ItemScores, ItemText, KeyArray, KeyKind
from evalrun_runner.errors import InputError, listed

_RESULTS = re.compile(r"^results(?P<time>_.+)?\.json$")


class LmEvalOutput:
    """Result and sample files of one run of lm-eval; see ``ScoredRun``."""

    def __init__(self, results: Path, label: str) -> None:
        """Open a run.

        Args:
            results: The result file; samples of the same time lie beside it.
            label: Name for people.

        Raises:
            InputError: It is no result file, or has no samples.
        """
        self.label = label
        self.place = str(results)
        match = _RESULTS.match(results.name)
        self._time = (match["time"] or "") if match else ""
        self._results = _results(results)
        self._files = self._samples(results.parent)
        if not self._files:
            raise InputError(
                f"{results} has no samples beside it (samples_<task>{self._time}.jsonl), and scores without their "
                "items cannot be paired\nhint: run lm-eval with --log_samples"
            )
        self._read: dict[str, TaskSamples] = {}

    @cached_property
    def facts(self) -> RunFacts:
        """See ``ScoredRun``."""
        return facts_of(self._results, "lm-eval")

    @property
    def tasks(self) -> Sequence[str]:
        """See ``ScoredRun``."""
        return list(self._files)

    @property
    def key_kinds(self) -> Sequence[KeyKind]:
        """See ``ScoredRun``."""
        return (KeyKind.PROMPT, KeyKind.DOCUMENT)

    def scores(self, task: str) -> ItemScores:
        """See ``ScoredRun``."""
        return self._task(task).scores()

    def keys(self, task: str, kind: KeyKind) -> KeyArray:
        """See ``ScoredRun``."""
        return self._task(task).keys(kind)

    def clusters(self, task: str) -> IntArray | None:
        """See ``ScoredRun``."""
        field = cluster_field(self._results, task)
        return None if field is None else cluster_numbers(self._task(task).values_of(field))

    def names(self, task: str, rows: Sequence[int]) -> list[str]:
        """See ``ScoredRun``."""
        return [f"document {self._task(task).doc_ids[row]}" for row in rows]

    def texts(self, task: str, rows: Sequence[int]) -> list[ItemText]:
        """See ``ScoredRun``."""
        return self._task(task).texts(rows)

    def _samples(self, folder: Path) -> Mapping[str, Path]:
        tasks = _keys(self._results.get("configs")) or _keys(self._results.get("results"))
        known = {f"samples_{task}{self._time}.jsonl": task for task in tasks}
        found = {}
        for file in sorted(folder.glob(f"samples_*{self._time}.jsonl")):
            plain = file.name.removeprefix("samples_").removesuffix(".jsonl").removesuffix(self._time)
            found[known.get(file.name, unquote(plain))] = file
        return found

    def _task(self, task: str) -> TaskSamples:
        if task not in self._read:
            self._read[task] = TaskSamples(self._files[task])
        return self._read[task]


def find_results(folder: Path) -> list[Path]:
    """Find the result files of a folder, the newest last; in folders of models just below it if it has none itself."""
    for pattern in ("results*.json", "*/results*.json"):
        found = [file for file in folder.glob(pattern) if _RESULTS.match(file.name)]
        if found:
            return sorted(found, key=lambda file: (file.name, file.parent))
    return []


def is_results(file: Path) -> bool:
    """Return whether a file's name is that of lm-eval's results."""
    return _RESULTS.match(file.name) is not None


def _results(file: Path) -> Mapping[str, object]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as lm-eval's results: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("results"), dict):
        raise InputError(f"{file}: expected lm-eval's results, an object with the key results")
    return cast("Mapping[str, object]", found)


def _keys(value: object) -> list[str]:
    return [str(key) for key in value] if isinstance(value, dict) else []


def several(found: Sequence[Path]) -> str:
    """Return result files for use inside a message."""
    return listed([str(file) for file in found], 5)
