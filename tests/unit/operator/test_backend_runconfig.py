"""The RunConfig of a spec in a cluster, and the values that no cluster would accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api import EvalRun, Reason, RunConfig, RunLocation
from evalrun_api.reading.parse import parse_file
from evalrun_api.rules import camel
from evalrun_operator.backend.checks import MAX_RUNCONFIG_BYTES, spec_problems
from evalrun_operator.backend.resources import gpus_per_replica, quantity
from evalrun_operator.backend.runconfig import runconfig
from evalrun_operator.backend.volumes import mounts
from evalrun_operator.names import results_uri
from evalrun_operator.observe.references import references
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.observed import References
from evalrun_runner.cli.localize import LocalResolver
from evalrun_runner.cli.scratch import Scratch
from support.evalruns import make_run
from support.operator_backend_cases import ADMINISTRATORS, CASES, REFERENCES, STORE, backend, pvc_and_suite, vllm_s3


def config_of(run: EvalRun, settings: OperatorSettings | None = None) -> RunConfig:
    return runconfig(run, 2, settings or OperatorSettings(), REFERENCES)


def test_results_uri_contains_namespace_name_and_uid() -> None:
    assert results_uri(make_run("r").build()) == "s3://evals/team/r-0f3c9a52/"
    run = make_run("r").with_spec(output={"uri": "s3://evals/deep/er"}).build()
    assert results_uri(run) == config_of(run).results.uri == "s3://evals/deep/er/team/r-0f3c9a52/"


def test_storage_access_uses_mounted_files() -> None:
    storage = config_of(pvc_and_suite()).results.storage
    assert storage.ca_bundle_file == "/etc/evalrun/ca/company-ca/root.pem"
    assert storage.credentials_dir is None
    assert config_of(vllm_s3()).model.storage.credentials_dir == "/etc/evalrun/credentials/s3-read"


def test_an_adapters_credentials_are_mounted_and_looked_up_like_the_models() -> None:
    adapter = {"name": "a", "uri": "s3://adapters/a/", "storage": {"credentialsSecretRef": {"name": "adapters-read"}}}
    run = make_run().with_spec(model={"uri": "hf://org/name", "adapters": [adapter]}).build()
    (found,) = config_of(run).model.adapters
    assert (found.name, found.uri) == ("a", "s3://adapters/a/")
    assert found.storage.credentials_dir == "/etc/evalrun/credentials/adapters-read"
    paths = [mount.path for mount in mounts(run, "config", OperatorSettings().pods)]
    assert found.storage.credentials_dir in paths
    named = [(reference.name, reference.field) for reference in references(run.spec)]
    assert ("adapters-read", "spec.model.adapters[0].storage.credentialsSecretRef.name") in named


def test_volumes_become_file_uris() -> None:
    config = config_of(pvc_and_suite())
    assert config.model.uri == "file:///models/models/llama/step%204000"
    assert config.model.cache_dir == "/cache"
    assert {name: suite.uri for name, suite in config.suites.items()} == {
        "support_triage": "file:///etc/evalrun/suites/0",
        "legal": "file:///etc/evalrun/suites/2/legal/v2",
        "med": "s3://suites/med/",
    }


@pytest.mark.parametrize("uri", ["pvc://models", "pvc://models/"])
def test_model_may_be_a_whole_volume(uri: str) -> None:
    assert config_of(make_run().with_spec(model={"uri": uri}).build()).model.uri == "file:///models/models"


def test_other_runs_are_read_with_this_runs_access() -> None:
    config = config_of(vllm_s3())
    none, baseline = config.baselines
    assert none is None
    assert baseline is not None
    assert baseline.uri == "s3://evals/team/llama-step-3000-11112222/"
    assert config.resume_from is not None
    assert baseline.storage == config.resume_from.storage == config.results.storage


def test_config_contains_gpus_code_permission_and_attempt() -> None:
    config = config_of(vllm_s3(), ADMINISTRATORS)
    assert (config.attempt, config.gpus_per_replica, config.allow_code) == (2, 2, True)
    assert not config_of(vllm_s3()).allow_code


@pytest.mark.parametrize("case", CASES)
def test_runner_parses_the_operators_config(case: str) -> None:
    make, settings = CASES[case]
    config = config_of(make(), settings)
    assert RunConfig.from_json(config.to_json()) == config


SUITE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "suite"},
    "data": {"c.yaml": "task: c", "ca.crt": "x"},
}
KEYS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s3-write", "labels": {"evalrun.dev/use": "storage"}},
    "stringData": {"AWS_ACCESS_KEY_ID": "a"},
}


@pytest.fixture
def both_configs(tmp_path: Path) -> tuple[RunConfig, RunConfig]:
    """RunConfigs of one file, which has everything that a RunConfig can hold: the command line's, the operator's."""
    mirror = {"endpointURL": "https://hub.example.com", "credentialsSecretRef": {"name": "s3-write"}}
    builder = make_run("same").with_spec(
        model={"name": "m", "uri": "hf://org/m", "revision": "main", "storage": mirror},
        engine={"vllm": {"tensorParallelSize": 2}},
        benchmarks=[
            {"task": "a"},
            {"task": "b", "name": "own", "source": {"s3": {"uri": "s3://suites/b/", "storage": STORE}}},
            {"task": "c", "source": {"configMap": {"name": "suite"}}},
        ],
        output={"uri": "s3://evals/", "storage": {**STORE, "caBundleRef": {"name": "suite"}}},
        gates=[
            {"task": "a", "metric": "acc", "min": 0.1},
            {"task": "a", "metric": "acc", "baseline": {"uri": "s3://evals/other/"}, "maxRegression": 0.1},
        ],
        resumeFrom={"uri": "s3://evals/before/"},
    )
    file = parse_file(yaml.safe_dump_all([builder.manifest(), KEYS, SUITE]), "same.yaml")
    here = LocalResolver(file, tmp_path, Scratch(tmp_path), allow_code=True).config()
    there = runconfig(file.evalrun, 1, ADMINISTRATORS, None)
    return here, there


# A run has one engine, and the file's is vLLM; recorded answers are refused in a cluster.
@pytest.mark.parametrize("field", sorted(RunConfig.model_fields.keys() - {"recorded"}))
def test_command_line_and_operator_agree_on_every_field(both_configs: tuple[RunConfig, RunConfig], field: str) -> None:
    """But for what is a matter of place. A field that is added to RunConfig is compared without being named here."""
    here, there = (
        _common(field, _without_places({field: config.to_dict().get(camel(field))})) for config in both_configs
    )
    assert here == there
    assert here[field] is not None, "the file has everything that a RunConfig can hold"


def test_command_line_and_operator_differ_only_in_locations(
    both_configs: tuple[RunConfig, RunConfig],
) -> None:
    here, there = both_configs
    assert _dirname(there.results.uri) == _dirname(here.results.uri) == "s3://evals/team"
    assert (here.model.cache_dir, there.model.cache_dir) == (None, "/cache")
    assert here.uid != there.uid
    assert {config.gpus_per_replica for config in both_configs} <= {0, 2}


def _common(field: str, value: dict[str, Any]) -> dict[str, Any]:
    """The field without what is a matter of place."""
    match field:
        case "uid" | "gpus_per_replica":
            return {field: type(value[field])}
        case "results":
            return {field: {name: part for name, part in value[field].items() if name != "uri"}}
        case "model":
            return {field: {name: part for name, part in value[field].items() if name != "cacheDir"}}
    return value


def _dirname(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[0]


def _without_places(value: Any) -> Any:
    """Paths without the folders that they lie in; a suite's folder has a name of its own on either side."""
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    if isinstance(value, str) and value.startswith("file://"):
        return "file://"
    return value.rpartition("/")[2] if isinstance(value, str) and value.startswith("/") else value


# What a cluster would refuse --------------------------------------------------------------------------------------


def problems(**replicas: Any) -> dict[str, str]:
    run = make_run().with_replicas(4, **replicas).with_spec(engine={"vllm": {}}).build()
    found = spec_problems(run)
    assert all(problem.reason is Reason.INVALID_SPEC for problem in found)
    return {problem.field: problem.message for problem in found}


@pytest.mark.parametrize("case", CASES)
def test_valid_spec_has_no_problems(case: str) -> None:
    assert spec_problems(CASES[case][0]()) == ()


@pytest.mark.parametrize(
    ("limits", "size", "wrong"),
    [
        ({"nvidia.com/gpu": 2}, 2, False),
        ({"amd.com/gpu": "4"}, 4, False),
        ({"nvidia.com/mig-1g.5gb": 1}, 1, False),
        ({"cpu": 8}, 1, False),
        ({"nvidia.com/gpu": 1}, 2, True),
        ({"nvidia.com/gpu": 2}, 1, True),
        ({"cpu": 8}, 2, True),
    ],
)
def test_gpu_limit_must_equal_tensor_parallel_size(limits: dict[str, Any], size: int, wrong: bool) -> None:
    run = make_run().with_replicas(1, resources={"limits": limits})
    found = spec_problems(run.with_spec(engine={"vllm": {"tensorParallelSize": size}}).build())
    assert [problem.field for problem in found] == (["spec.replicas.resources.limits"] if wrong else [])
    assert all("tensorParallelSize" in problem.message for problem in found)


@pytest.mark.parametrize(
    ("size", "stages", "gpus", "wrong"),
    [(4, 2, 8, False), (1, 4, 4, False), (4, 1, 4, False), (4, 2, 4, True), (4, 2, 2, True), (8, 2, 8, True)],
)
def test_c15_a_pipeline_needs_gpus_for_each_stage(size: int, stages: int, gpus: int, wrong: bool) -> None:
    engine = {"vllm": {"tensorParallelSize": size, "args": {"pipeline_parallel_size": stages}}}
    run = make_run().with_spec(engine=engine).with_replicas(1, resources={"limits": {"nvidia.com/gpu": gpus}})
    found = spec_problems(run.build())
    assert [problem.field for problem in found] == (["spec.replicas.resources.limits"] if wrong else [])
    for problem in found:
        assert f"tensorParallelSize {size} * args.pipeline_parallel_size {stages}" in problem.message
        assert f"set the limit of nvidia.com/gpu to {size * stages}" in problem.message


def test_mock_engine_may_request_any_gpus() -> None:
    run = make_run().with_replicas(1, resources={"limits": {"nvidia.com/gpu": 3}}).build()
    assert spec_problems(run) == ()
    assert gpus_per_replica(run.spec) == 3


@pytest.mark.parametrize(
    ("replicas", "field", "word"),
    [
        ({"resources": {"limits": {"gpu": 1}}}, "resources.limits[gpu]", "not a resource"),
        ({"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}, "resources.limits[hugepages-2Mi]", "not a resource"),
        ({"resources": {"limits": {"kubernetes.io/x": 1}}}, "resources.limits[kubernetes.io/x]", "not a resource"),
        ({"resources": {"limits": {"a b/c": 1}}}, "resources.limits[a b/c]", "not a resource"),
        ({"resources": {"limits": {"rdma/hca": "500m"}}}, "resources.limits[rdma/hca]", "whole number"),
        ({"resources": {"requests": {"rdma/hca": 1}}}, "resources.requests[rdma/hca]", "none is set"),
        (
            {"resources": {"limits": {"rdma/hca": 2}, "requests": {"rdma/hca": 1}}},
            "resources.requests[rdma/hca]",
            "must equal",
        ),
        (
            {"resources": {"limits": {"memory": "64Gi"}, "requests": {"memory": "70G"}}},
            "resources.requests[memory]",
            "above its limit",
        ),
        ({"nodeSelector": {"a/b/c": "x"}}, "nodeSelector[a/b/c]", "not a label key"),
        ({"nodeSelector": {"a": "not a value"}}, "nodeSelector[a]", "not a label value"),
        ({"tolerations": [{"key": "-", "operator": "Exists"}]}, "tolerations[0].key", "not a taint key"),
        ({"tolerations": [{"key": "k", "value": "a b"}]}, "tolerations[0].value", "not a taint value"),
        (
            {"tolerations": [{"operator": "Exists", "tolerationSeconds": 3}]},
            "tolerations[0].tolerationSeconds",
            "NoExecute",
        ),
    ],
)
def test_values_that_the_api_server_would_reject_are_reported(replicas: dict[str, Any], field: str, word: str) -> None:
    found = problems(**replicas)
    assert word in found[f"spec.replicas.{field}"]


def test_queue_must_be_an_object_name() -> None:
    (problem,) = spec_problems(make_run().in_queue("GPU_Queue").build())
    assert problem.field == "metadata.labels[kueue.x-k8s.io/queue-name]"


def test_spec_too_large_for_a_config_map_is_rejected() -> None:
    long = [{"task": f"t{number}", "systemInstruction": "x" * 16000} for number in range(60)]
    (problem,) = spec_problems(make_run().with_spec(benchmarks=long).build())
    assert "ConfigMap" in problem.message


def _suites_of_long_addresses() -> list[dict[str, Any]]:
    s3 = {"uri": f"s3://bucket/{'p' * 900}", "storage": {"endpointURL": f"https://s3.example.com/{'q' * 900}"}}
    return [{"task": f"t{number}", "source": {"s3": s3}} for number in range(420)]


def test_c31_what_does_not_fit_into_the_config_map_is_invalid_whatever_the_specs_size() -> None:
    run = make_run().with_spec(benchmarks=_suites_of_long_addresses()).build()
    assert len(run.spec.to_json()) < MAX_RUNCONFIG_BYTES < len(config_of(run).to_json())
    (problem,) = spec_problems(run)
    assert (problem.field, problem.reason) == ("spec", Reason.INVALID_SPEC)
    assert f"{len(config_of(run).to_json()):,} bytes" in problem.message


def test_c31_addresses_of_named_runs_count_once_they_are_known() -> None:
    gates = [{"task": "t", "metric": "acc", "baseline": {"runName": "base"}, "maxRegression": 0.01}] * 600
    run = make_run().with_spec(gates=gates).build()
    assert spec_problems(run) == ()
    far = References(runs={"base": RunLocation(uri=f"s3://evals/{'d' * 2000}/")})
    (problem,) = spec_problems(run, references=far)
    assert "ConfigMap" in problem.message
    assert backend().problems(run, far) == (problem,)


@pytest.mark.parametrize(
    ("text", "value"),
    [(1, 1), ("500m", 0.5), ("64Gi", 64 * 2**30), ("1.5G", 1.5e9), ("2e3", 2000), ("1E", 1e18), ("1e-2", 0.01)],
)
def test_quantities_are_numbers(text: int | str, value: float) -> None:
    assert float(quantity(text)) == value


def test_extreme_quantities_are_parsed() -> None:
    assert quantity("1e999999999999") > quantity("1Ei") > quantity("1e-999999999999") > 0
