"""Common cases of the tests of the Jobs backend: runs of every kind, and Jobs and pods of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalrun_api import EvalRun, Resources, RunLocation
from evalrun_operator.backend.children import parse
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.objects import JOBS, PODS, Change, Create
from evalrun_operator.settings import (
    DriverSettings,
    ImageSettings,
    NetworkPolicySettings,
    OperatorSettings,
    PodSettings,
)
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.children import Children
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.observed import References
from support.evalruns import make_run

UID = "0f3c9a52-7c7a-4a55-9d5e-6f2f1a9b8c7d"
LABELS = {"evalrun.dev/run": UID}
FINALIZER = "batch.kubernetes.io/job-tracking"

STORE = {
    "endpointURL": "https://s3.example.com",
    "region": "eu-1",
    "addressingStyle": "path",
    "credentialsSecretRef": {"name": "s3-write"},
}
REFERENCES = References(runs={"llama-step-3000": RunLocation(uri="s3://evals/team/llama-step-3000-11112222/")})

ADMINISTRATORS = OperatorSettings(
    image=ImageSettings(reference="registry.example.com/runner@sha256:" + "a" * 64, pull_secrets=("pull",)),
    driver=DriverSettings(
        resources=Resources(requests={"cpu": 2, "memory": "4Gi"}),
        node_selector={"pool": "cpu"},
        annotations={"prometheus.io/scrape": "true"},
    ),
    pods=PodSettings(
        service_account_name="evals",
        labels={"cost-centre": "42"},
        cache_size_limit="200Gi",
        env=({"name": "AWS_REGION", "value": "eu-1"},),
    ),
    network_policy=NetworkPolicySettings(
        metrics_from=({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},),
        egress=({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443}]},),
    ),
    allow_code=True,
)


def vllm_s3() -> EvalRun:
    """Build a run with vLLM on two GPUs, everything on S3 with keys, compared with an earlier run."""
    return (
        make_run("llama-step-4000")
        .with_replicas(
            8,
            resources={"limits": {"nvidia.com/gpu": 2, "memory": "64Gi"}, "requests": {"cpu": "8"}},
            nodeSelector={"gpu": "h100"},
            tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            priorityClassName="evals",
            runtimeClassName="nvidia",
        )
        .with_spec(
            model={
                "uri": "s3://checkpoints/llama/step-4000/",
                "storage": {"endpointURL": "https://s3.example.com", "credentialsSecretRef": {"name": "s3-read"}},
            },
            engine={"vllm": {"tensorParallelSize": 2}},
            output={"uri": "s3://evals/", "storage": STORE},
            resumeFrom={"uri": "s3://evals/team/llama-step-4000-99990000/"},
            gates=[
                {"task": "gsm8k", "metric": "exact_match", "min": 0.5},
                {
                    "task": "gsm8k",
                    "metric": "exact_match",
                    "baseline": {"runName": "llama-step-3000"},
                    "maxRegression": 0.01,
                },
            ],
        )
        .build()
    )


def kueue() -> EvalRun:
    """Build a queued run that starts with two replicas, with Kueue's own priority."""
    builder = make_run("queued").with_replicas(8, minCount=2).in_queue("gpu-eval")
    builder.labels["kueue.x-k8s.io/priority-class"] = "nightly"
    return builder.with_spec(engine={"vllm": {}}).build()


def pvc_and_suite() -> EvalRun:
    """Build a run with model and cache on one claim, suites from a ConfigMap, a claim and S3, and its own CA."""
    private = {"endpointURL": "https://minio.internal", "caBundleRef": {"name": "company-ca", "key": "root.pem"}}
    return (
        make_run("claims")
        .with_replicas(2, resources={"limits": {"nvidia.com/gpu": 1}})
        .with_spec(
            model={
                "uri": "pvc://models/llama/step 4000",
                "cache": {"persistentVolumeClaim": {"claimName": "models"}},
            },
            engine={"vllm": {}},
            benchmarks=[
                {"task": "support_triage", "source": {"configMap": {"name": "support-suite"}}},
                {"task": "arc_easy"},
                {"task": "legal", "source": {"pvc": {"claimName": "suites", "path": "legal/v2"}}},
                {"task": "med", "source": {"s3": {"uri": "s3://suites/med/", "storage": STORE}}},
            ],
            output={"uri": "s3://evals/nightly", "storage": private},
        )
        .build()
    )


def mock() -> EvalRun:
    """Build a minimal run."""
    return make_run("smallest").build()


CASES = {
    "vllm-s3": (vllm_s3, OperatorSettings()),
    "kueue": (kueue, OperatorSettings()),
    "pvc-and-suite": (pvc_and_suite, OperatorSettings()),
    "mock": (mock, OperatorSettings()),
    "administrators": (vllm_s3, ADMINISTRATORS),
}


def backend(settings: OperatorSettings | None = None) -> JobsBackend:
    return JobsBackend(settings or OperatorSettings(), token=lambda: "0" * 64)


def created(run: EvalRun, settings: OperatorSettings | None = None) -> dict[str, dict[str, Any]]:
    """Return everything that is created for a run, by kind and, for Jobs, component."""
    queue = run.metadata.labels.get("kueue.x-k8s.io/queue-name")
    count = run.spec.replicas.count
    desired = DesiredState(1, Desired.RUNNING, Desired.RUNNING, count=count, queue=queue, seconds_left=3600)
    changes = backend(settings).changes(run, desired, Objects(), REFERENCES)
    return {_what(change): dict(change.manifest) for change in changes if isinstance(change, Create)}


def _what(change: Change) -> str:
    assert isinstance(change, Create)
    component = change.manifest["metadata"]["labels"].get("evalrun.dev/component")
    return component or change.kind.kind


# What is in a cluster ---------------------------------------------------------------------------------------------


def job(component: str = "driver", attempt: int | str = 1, **changes: Any) -> dict[str, Any]:
    """Build a Job of the API server; ``conditions`` are (type, reason), ``labels`` and ``spec`` are added."""
    suffix = "driver" if component == "driver" else "replicas"
    name = changes.get("name", f"nightly-a{attempt}-{suffix}")
    metadata: dict[str, Any] = {
        "name": name,
        "uid": changes.get("uid", f"uid-of-{name}"),
        "labels": {
            **LABELS,
            "evalrun.dev/attempt": str(attempt),
            "evalrun.dev/component": component,
            **changes.get("labels", {}),
        },
        "ownerReferences": [{"kind": "EvalRun", "name": "nightly", "uid": UID, "controller": True}],
    }
    if changes.get("deleting"):
        metadata["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": f"Job said {reason}",
            "lastTransitionTime": "2026-01-01T12:30:00Z",
        }
        for kind, reason in changes.get("conditions", ())
    ]
    size = 1 if component == "driver" else 3
    return {
        "metadata": metadata,
        "spec": {"parallelism": size, "completions": size, **changes.get("spec", {})},
        "status": {"conditions": conditions, **changes.get("status", {})},
    }


def pod(of: Mapping[str, Any], phase: str = "Running", **changes: Any) -> dict[str, Any]:
    """Build a pod of a Job. ``exit_code`` and ``message`` are its container's end, ``true`` are its conditions."""
    component = of["metadata"]["labels"].get("evalrun.dev/component", "driver")
    name = changes.get("name", f"{of['metadata']['name']}-{changes.get('index', 0)}-abcde")
    metadata: dict[str, Any] = {
        "name": name,
        "uid": changes.get("uid", f"uid-of-{name}"),
        "resourceVersion": changes.get("version", "7"),
        "creationTimestamp": changes.get("created", "2026-01-01T12:00:00Z"),
        "labels": of["metadata"]["labels"],
        "annotations": {
            "batch.kubernetes.io/job-completion-index": str(changes.get("index", 0)),
            **changes.get("annotations", {}),
        },
        "ownerReferences": [{"kind": "Job", "uid": of["metadata"]["uid"], "controller": True}],
        "finalizers": changes.get("finalizers", [FINALIZER]),
    }
    if "deleted" in changes:
        metadata["deletionTimestamp"] = changes["deleted"]
    state: dict[str, Any] = {"running": {"startedAt": "2026-01-01T12:00:05Z"}} if phase == "Running" else {}
    if "exit_code" in changes:
        state = {
            "terminated": {
                "exitCode": changes["exit_code"],
                "reason": changes.get("reason", "Error"),
                "message": changes.get("message", ""),
                "finishedAt": changes.get("finished", "2026-01-01T12:20:00Z"),
            }
        }
    if "waiting" in changes:
        state = {"waiting": {"reason": changes["waiting"], "message": changes.get("message", "")}}
    return {
        "metadata": metadata,
        "spec": {"nodeName": changes.get("node", "node-1")},
        "status": {
            "phase": phase,
            "podIP": "10.1.2.3",
            "conditions": [{"type": kind, "status": "True"} for kind in changes.get("true", ())]
            + changes.get("conditions", []),
            "containerStatuses": [{"name": "mesh", "state": {}}, {"name": component, "state": state}],
        },
    }


def objects(*manifests: Mapping[str, Any], lost: frozenset[str] = frozenset()) -> Objects:
    """Parse Jobs and pods, which are distinguished by having a node."""
    kinds = (PODS if "nodeName" in each["spec"] else JOBS for each in manifests)
    return Objects(Children.of_objects(map(parse, kinds, manifests)), lost)
