"""What an administrator does not allow is refused by name, before anything is created."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import EvalRun, Reason
from evalrun_operator.backend.checks import spec_problems
from evalrun_operator.backend.limits import allowed_replicas
from evalrun_operator.backend.resources import gpus_per_replica
from evalrun_operator.kube.objects import Patch
from evalrun_operator.settings import AcceleratorSettings, LimitSettings, OperatorSettings
from evalrun_operator.state.desired import Desired, DesiredState
from support.evalruns import Builder, make_run
from support.operator_backend_cases import backend, created, job, objects

STORE = "https://s3.example.com"


def said(run: EvalRun, **settings: Any) -> dict[str, str]:
    """Return messages by field."""
    problems = spec_problems(run, OperatorSettings(**settings))
    assert all(problem.reason is Reason.INVALID_SPEC for problem in problems)
    return {problem.field: problem.message for problem in problems}


def vllm(count: int, gpus: int, resource: str = "nvidia.com/gpu", **more: Any) -> Builder:
    engine = {"vllm": {"tensorParallelSize": gpus}}
    return make_run().with_replicas(count, resources={"limits": {resource: gpus}}, **more).with_spec(engine=engine)


def test_c15_replicas_and_gpus_of_a_run_are_limited() -> None:
    run = vllm(10_000, 8).build()
    assert said(run) == {}
    many = said(run, limits=LimitSettings(max_replicas=8, max_gpus=16))
    assert many["spec.replicas.count"].startswith("10,000 is above 8, the replicas that a run may have here")
    assert "80,000 GPUs, above 16" in many["spec.replicas.resources.limits"]
    assert all("hint: " in message and "administrator" in message for message in many.values())
    assert said(vllm(2, 8).build(), limits=LimitSettings(max_replicas=2, max_gpus=16)) == {}
    assert said(make_run().with_replicas(99).build(), limits=LimitSettings(max_gpus=0)) == {}


def test_c15_priority_classes_are_limited_and_kubernetes_own_are_refused() -> None:
    def field(priority: str, classes: tuple[str, ...] | None) -> str | None:
        run = make_run().with_replicas(1, priorityClassName=priority).build()
        return said(run, limits=LimitSettings(priority_classes=classes)).get("spec.replicas.priorityClassName")

    for own in ("system-node-critical", "system-cluster-critical"):
        assert "one that is not Kubernetes' own" in str(field(own, None))
        assert field(own, (own,)) is None
    assert field("evals", None) is None
    assert field("evals", ("evals",)) is None
    assert "a run may not use high here, expected evals" in str(field("high", ("evals",)))
    assert "expected none" in str(field("evals", ()))


def test_c15_tolerated_taints_are_limited() -> None:
    def fields(*tolerations: dict[str, str], keys: tuple[str, ...] | None = ("nvidia.com/gpu",)) -> dict[str, str]:
        run = make_run().with_replicas(1, tolerations=list(tolerations)).build()
        return said(run, limits=LimitSettings(toleration_keys=keys))

    gpu = {"key": "nvidia.com/gpu", "operator": "Exists"}
    control = {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}
    assert fields(gpu) == {}
    assert fields(control, keys=None) == {}
    assert "the taint node-role.kubernetes.io/control-plane" in fields(gpu, control)["spec.replicas.tolerations[1].key"]
    assert "every taint" in fields({"operator": "Exists"})["spec.replicas.tolerations[0].key"]


def test_c15_runtime_classes_are_limited() -> None:
    run = make_run().with_replicas(1, runtimeClassName="kata").build()
    assert said(run) == said(run, limits=LimitSettings(runtime_classes=("kata",))) == {}
    assert (
        "expected nvidia"
        in said(run, limits=LimitSettings(runtime_classes=("nvidia",)))["spec.replicas.runtimeClassName"]
    )


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        (STORE, (STORE,), True),
        (f"{STORE}/", (STORE,), True),
        (f"{STORE}:443/x", (STORE,), True),
        ("https://S3.Example.com.", (STORE,), True),
        ("http://s3.example.com", (STORE,), False),
        (f"{STORE}:8443", (STORE,), False),
        ("https://s3.example.com.evil.org", (STORE,), False),
        ("https://kubernetes.default.svc", (STORE,), False),
        ("https://eu.example.com", ("https://*.example.com",), True),
        ("https://a.b.example.com", ("https://*.example.com",), True),
        ("https://example.com", ("https://*.example.com",), False),
        ("https://evilexample.com", ("https://*.example.com",), False),
        (f"{STORE}/team/x", (f"{STORE}/team",), True),
        (f"{STORE}/teams", (f"{STORE}/team",), False),
        (f"{STORE}/team/../other", (f"{STORE}/team",), False),
        (f"{STORE}/team/%2e%2e/other", (f"{STORE}/team",), False),
        (f"{STORE}:99999", (STORE,), False),
        (STORE, (), False),
        ("http://[fd00::5]:9000", ("http://[fd00::5]:9000",), True),
    ],
)
def test_c15_endpoints_are_those_that_are_allowed(url: str, allowed: tuple[str, ...], fits: bool) -> None:
    run = make_run().with_spec(output={"uri": "s3://evals/", "storage": {"endpointURL": url}}).build()
    found = said(run, allowed_endpoints=allowed)
    assert set(found) == (set() if fits else {"spec.output.storage.endpointURL"})
    if not fits:
        assert "runner.allowedEndpoints" in found["spec.output.storage.endpointURL"]
    assert said(run) == {}


def test_c16_every_place_of_an_endpoint_is_compared() -> None:
    other = {"endpointURL": "https://kubernetes.default.svc"}
    run = make_run().with_spec(
        model={
            "uri": "hf://org/name",
            "storage": other,
            "adapters": [{"name": "a", "uri": "s3://adapters/a/"}, {"name": "b", "uri": "hf://o/b", "storage": other}],
        },
        benchmarks=[{"task": "a"}, {"task": "b", "source": {"s3": {"uri": "s3://suites/", "storage": other}}}],
        output={"uri": "s3://evals/", "storage": other},
    )
    assert set(said(run.build(), allowed_endpoints=(STORE,))) == {
        "spec.model.storage.endpointURL",
        "spec.model.adapters[1].storage.endpointURL",
        "spec.benchmarks[1].source.s3.storage.endpointURL",
        "spec.output.storage.endpointURL",
    }


@pytest.mark.parametrize(
    "resource",
    [
        *("nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared", "amd.com/gpu", "google.com/tpu"),
        *("habana.ai/gaudi", "gpu.intel.com/xe", "gpu.intel.com/i915", "aws.amazon.com/neuron"),
        *("aws.amazon.com/neuroncore", "huawei.com/Ascend910"),
    ],
)
def test_c15_accelerators_of_every_vendor_count(resource: str) -> None:
    run = vllm(1, 4, resource).build()
    assert said(run) == {}
    assert gpus_per_replica(run.spec) == 4


def test_c15_an_administrator_names_other_accelerators() -> None:
    own = AcceleratorSettings(default="amd.com/gpu", resources=("example.com/npu",))
    assert "spec.replicas.resources.limits" in said(vllm(1, 2, "example.com/npu").build())
    assert said(vllm(1, 2, "example.com/npu").build(), accelerators=own) == {}
    assert said(vllm(1, 2, "rdma/hca").build(), accelerators=own) != {}, "a network card is none"
    made = created(make_run().with_spec(engine={"vllm": {}}).build(), OperatorSettings(accelerators=own))
    limits = made["replica"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"amd.com/gpu": "1"}


def test_c15_a_run_does_not_grow_above_the_limits_later() -> None:
    limits = OperatorSettings(limits=LimitSettings(max_replicas=4))
    run = make_run().with_replicas(10_000).build()
    there = job("replica", spec={"parallelism": 3, "completions": 3})
    desired = DesiredState(1, Desired.UNCHANGED, Desired.RUNNING, count=10_000)
    (patch,) = backend(limits).changes(run, desired, objects(job(), there), None)
    assert isinstance(patch, Patch)
    assert patch.body == {"spec": {"parallelism": 4, "completions": 4}}
    # What was allowed once is not taken away.
    there = job("replica", spec={"parallelism": 9, "completions": 9})
    assert backend(limits).changes(run, desired, objects(job(), there), None) == ()


@pytest.mark.parametrize(
    ("limits", "count", "expected"),
    [
        ({}, 5, 5),
        ({"max_replicas": 3}, 5, 3),
        ({"max_gpus": 8}, 5, 4),
        ({"max_gpus": 1}, 5, 1),
        ({"max_gpus": 8}, 2, 2),
    ],
)
def test_allowed_replicas(limits: dict[str, int], count: int, expected: int) -> None:
    settings = OperatorSettings(limits=LimitSettings(**limits))
    assert allowed_replicas(vllm(5, 2).build().spec, settings, count) == expected


def test_code_of_models_may_be_forbidden() -> None:
    run = make_run().with_spec(benchmarks=[{"task": "gsm8k"}, {"task": "humaneval", "allowCode": True}]).build()
    assert said(run) == {}
    forbidden = said(run, limits=LimitSettings(model_code=False))
    assert "runner.limits.modelCode" in forbidden["spec.benchmarks[1].allowCode"]
    assert said(make_run().build(), limits=LimitSettings(model_code=False)) == {}
