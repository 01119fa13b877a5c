"""Conversion of an EvalRun of the API server into the models, or into what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

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
from evalrun_api.reading.parse import cluster_problems, parse_evalrun
from evalrun_api.reading.problems import InvalidInput
from evalrun_operator.kube.errors import UnreadableStatus

_META = ("name", "namespace", "uid", "labels", "annotations", "resourceVersion", "generation", "creationTimestamp")


def parse_run(body: Mapping[str, Any]) -> tuple[EvalRun, str | None]:
    """Parse a run; a spec that the models reject is replaced by a placeholder.

    The placeholder has no meaning, except for the model, where that can be read.

    Returns:
        The run, and why its spec cannot be used; None if it can.

    Raises:
        UnreadableStatus: A newer operator wrote what this one does not know. Acting without it could start a run again.
    """
    metadata = {key: value for key, value in body["metadata"].items() if key in _META}
    name = f"{metadata['namespace']}/{metadata['name']}"
    status = _status(name, body.get("status"))
    problem: str | None = None
    try:
        run = parse_evalrun({**body, "metadata": metadata, "status": None}, "spec")
        problems = cluster_problems(run)
        if problems:
            problem = "; ".join(map(str, problems))
    except InvalidInput as error:
        run = EvalRun(metadata=_metadata(metadata), spec=_placeholder(body.get("spec")))
        problem = "; ".join(map(str, error.problems))
    return run.model_copy(update={"status": status}), problem


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


def _placeholder(spec: object) -> EvalRunSpec:
    given = spec.get("model") if isinstance(spec, dict) else None
    try:
        model = ModelSpec.model_validate_json(json.dumps(given), by_alias=True, by_name=False)
    except ValidationError:
        model = ModelSpec(uri="file:///unknown")
    return EvalRunSpec(
        model=model,
        engine=EngineSpec(mock=MockEngineSpec()),
        benchmarks=(Benchmark(task="unknown"),),
        output=OutputSpec(uri="s3://unknown/"),
    )
