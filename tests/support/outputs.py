"""Documents that a run leaves, with only what a test says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalrun_api.wire.outputs import Results

_EMPTY: dict[str, Any] = {
    "results": {},
    "group_subtasks": {},
    "configs": {},
    "versions": {},
    "n-shot": {},
    "higher_is_better": {},
    "n-samples": {},
    "config": {"model": "m", "seed": 1},
}
_NONE = {"ok": 0, "failed": 0, "quarantined": 0}
_SCORED_BY: dict[str, Any] = {"engine": "mock", "numerics": "fast"}


def make_results(given: Mapping[str, Any]) -> Results:
    """Make a results.json; what is not given is empty or 0."""
    evalrun = {**_SCORED_BY, **given.get("evalrun", {})}
    evalrun["counts"] = {"planned": 0, **_NONE, **evalrun.get("counts", {})}
    evalrun["tasks"] = {task: {**_NONE, **account} for task, account in evalrun.get("tasks", {}).items()}
    return Results.model_validate({**_EMPTY, **given, "evalrun": evalrun}, by_alias=True, by_name=False)
