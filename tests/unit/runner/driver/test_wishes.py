"""Warnings of settings of a run that have no effect on its engine, its model or its machine."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import EvalRunSpec, ModelLocation, RunConfig, RunLocation
from evalrun_runner.driver.wishes import (
    ONLY_IN_A_CLUSTER,
    check_settings_of_cluster,
    check_settings_of_run,
)

MOCK: dict[str, Any] = {"mock": {}}


def spec_of(**spec: Any) -> EvalRunSpec:
    given = {
        "model": {"uri": "hf://org/m"},
        "benchmarks": [{"task": "a"}],
        "engine": {"vllm": {}},
        "output": {"uri": "o"},
    }
    return EvalRunSpec.model_validate({**given, **spec})


def warned(gpus: int = 1, **spec: Any) -> list[str]:
    config = RunConfig(
        name="r",
        uid="u",
        spec=spec_of(**spec),
        results=RunLocation(uri="file:///out"),
        model=ModelLocation(name="m", uri="hf://org/m"),
        gpus_per_replica=gpus,
    )
    # As the driver of a cluster has it, with every default written out.
    config = RunConfig.from_json(config.to_json())
    return [warning.line for warning in check_settings_of_run(config)]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (
            {"model": {"uri": "hf://org/m", "chatTemplate": "rag"}},
            "spec.model.chatTemplate: it has no effect: no bench",
        ),
        (
            {
                "model": {"uri": "hf://org/m", "chatTemplate": "rag"},
                "engine": MOCK,
                "benchmarks": [{"task": "a", "applyChatTemplate": True}],
            },
            "spec.model.chatTemplate: it has no effect: the mock engine has",
        ),
        ({"engine": {**MOCK, "numerics": "strict"}}, "spec.engine.numerics: it has no effect: the mock engine"),
        (
            {"model": {"uri": "hf://org/m", "storage": {"endpointURL": "https://s3.example"}}},
            "spec.model.storage: it has no effect: of an hf:// model only the Secret",
        ),
        (
            {"engine": {"vllm": {"args": {"gpu_memory_utilization": 0.5, "kv_cache_memory_bytes": 1}}}},
            "spec.engine.vllm.args.gpu_memory_utilization: it has no effect: kv_cache_memory_bytes, which is given",
        ),
        (
            {"engine": {"vllm": {"args": {"gpu_memory_utilization": 0.5}}}, "gpus": 0},
            "spec.engine.vllm.args.gpu_memory_utilization: it has no effect: without a GPU",
        ),
    ],
)
def test_a_setting_without_effect_is_named(spec: dict[str, Any], line: str) -> None:
    (said,) = warned(**spec)
    assert said.startswith(line)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"engine": MOCK},
        {
            "model": {"uri": "hf://org/m", "chatTemplate": "rag"},
            "benchmarks": [{"task": "a", "applyChatTemplate": True}],
        },
        {"model": {"uri": "hf://org/m", "storage": {"credentialsSecretRef": {"name": "s"}}}},
        {"model": {"uri": "s3://bucket/m", "storage": {"endpointURL": "https://s3.example"}}},
        {"engine": {"vllm": {"args": {"gpu_memory_utilization": 0.5}}}},
    ],
    ids=str,
)
def test_a_setting_with_an_effect_is_not_mentioned(spec: dict[str, Any]) -> None:
    assert not warned(**spec)


def test_settings_of_a_cluster_are_named_on_one_machine() -> None:
    spec = spec_of(
        policy={"maxAttempts": 5, "maxFailedItems": 3, "ttlSecondsAfterFinished": 0},
        replicas={"count": 2, "nodeSelector": {"a": "b"}},
    )
    (warning,) = check_settings_of_cluster(spec)
    assert warning.line == (
        "spec: replicas.nodeSelector, policy.maxAttempts, policy.ttlSecondsAfterFinished have no effect on one "
        "machine, only in a cluster"
    )
    assert not list(check_settings_of_cluster(spec_of(policy={"maxAttempts": 3})))


def test_every_setting_of_a_cluster_is_a_field() -> None:
    spec = spec_of()
    for place in ONLY_IN_A_CLUSTER:
        block, name = place.split(".")
        assert name in type(getattr(spec, block)).model_fields
