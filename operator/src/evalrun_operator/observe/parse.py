"""Conversion of an EvalRun of the API server into the models, or into what is wrong with it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from evalrun_api import (
    Benchmark,
    EngineSpec,
    EvalRun,
    EvalRunSpec,
    EvalRunStatus,
    MockEngineSpec,
    ModelSpec,
    ObjectMeta,
    OutputSpec,
)
from evalrun_api.base import BROKEN_RULES
from evalrun_api.reading.parse import cluster_problems, parse_evalrun
from evalrun_api.reading.problems import InvalidInput, Problem
from evalrun_operator.kube.errors import UnreadableStatus
from evalrun_operator.state.observed import SpecProblem

_META = ("name", "namespace", "uid", "labels", "annotations", "resourceVersion", "generation", "creationTimestamp")
_ARGUMENTS = ("engine", "vllm", "args")
LONG = 10_000
"""Characters of a spec above which it is parsed each time: what is kept must stay small."""
_PATH = "spec.engine.vllm.args."


def parse_run(body: Mapping[str, Any]) -> tuple[EvalRun, SpecProblem | None]:
    """Parse a run; of a spec that the models reject only what can be read is kept, and placeholders for the rest.

    Returns:
        The run, and why its spec cannot be used as it is; None if it can.

    Raises:
        UnreadableStatus: A newer operator wrote what this one does not know. Acting without it could start a run again.
    """
    metadata = {key: value for key, value in body["metadata"].items() if key in _META and value is not None}
    name = f"{metadata['namespace']}/{metadata['name']}"
    status = _status(name, body.get("status"))
    text = json.dumps({key: value for key, value in body.items() if key not in {"metadata", "status"}})
    spec, problem = (_judged if len(text) <= LONG else _judge)(text)
    return EvalRun(metadata=_metadata(metadata), spec=spec, status=status), problem


def _judge(text: str) -> tuple[EvalRunSpec, SpecProblem | None]:
    """Parse what users write of a run."""
    body = json.loads(text)
    try:
        run = parse_evalrun({**body, "metadata": {"name": "run"}}, "spec")
    except InvalidInput as error:
        return _readable(body.get("spec")), _problem(error.problems)
    return run.spec, _problem(cluster_problems(run))


_judged = lru_cache(maxsize=256)(_judge)
"""Keeps what was parsed lately: a run is read again and again and edited seldom, and runs resemble each other."""


def _problem(problems: Sequence[Problem]) -> SpecProblem | None:
    if not problems:
        return None
    return SpecProblem(
        "; ".join(map(str, problems)),
        unknown=any(problem.unknown for problem in problems),
        engine_only=all(
            problem.path.startswith(_PATH) and problem.path != f"{_PATH}pipeline_parallel_size" for problem in problems
        ),
    )


def _status(name: str, status: object) -> EvalRunStatus | None:
    if status is None:
        return None
    try:
        return EvalRunStatus.model_validate_json(json.dumps(status), by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise UnreadableStatus(
            f"the status of {name} cannot be read ({'.'.join(map(str, first['loc']))}: {first['msg']}), another "
            "version of the operator wrote it; hint: run that version, or a newer one"
        ) from error


def _metadata(metadata: Mapping[str, Any]) -> ObjectMeta:
    return ObjectMeta.model_validate_json(json.dumps(metadata), by_alias=True, by_name=False)


def _readable(spec: object) -> EvalRunSpec:
    """Read what can be read: without unknown fields, refused engine arguments, and blocks that are wrong besides."""
    if not isinstance(spec, dict):
        return _PLACEHOLDER
    kept = copy.deepcopy(spec)
    for details in _errors(kept):
        if details["type"] == "extra_forbidden" or details["loc"][:3] == _ARGUMENTS:
            _remove(kept, details["loc"])
    for details in _errors(kept):
        rules = details["ctx"]["broken"] if details["type"] == BROKEN_RULES else ()
        for block in details["loc"][:1] or [field for field, _ in rules]:
            kept.pop(block, None)
    kept = _PLACEHOLDER.to_dict() | kept
    return _PLACEHOLDER if _errors(kept) else _validated(kept)


def _errors(spec: Mapping[str, Any]) -> Sequence[ErrorDetails]:
    try:
        _validated(spec)
    except ValidationError as error:
        return error.errors(include_url=False, include_input=False)
    return ()


def _validated(spec: Mapping[str, Any]) -> EvalRunSpec:
    return EvalRunSpec.model_validate_json(json.dumps(spec), strict=True, by_alias=True, by_name=False)


def _remove(spec: Any, location: Sequence[int | str]) -> None:
    """Remove the field at a location of nested values."""
    *parents, last = location
    for part in parents:
        spec = spec[part]
    del spec[last]


_PLACEHOLDER = EvalRunSpec(
    model=ModelSpec(uri="file:///unknown"),
    engine=EngineSpec(mock=MockEngineSpec()),
    benchmarks=(Benchmark(task="unknown"),),
    output=OutputSpec(uri="s3://unknown/"),
)
"""What stands for blocks of a spec that cannot be read; nothing is made from it."""
