"""Jobs, pods and runs in great number, with everything that a real API server sends of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS, Kind

Object = dict[str, Any]

KINDS = (EVALRUNS, JOBS, PODS)
RUN_PODS = 9
"""A driver and eight replicas."""
_PER_RUN = {EVALRUNS: 1, JOBS: 2, PODS: RUN_PODS}
_MOUNTS = ("/cache", "/tmp", "/dev/shm", "/etc/evalrun/run", "/etc/evalrun/credentials/s3")
_LABELS = (
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "evalrun.dev/attempt",
    "evalrun.dev/component",
    "evalrun.dev/run",
    "job-name",
)


def metadata(kind: Kind, number: int) -> Object:
    """Return the metadata of the n-th object of a kind: a run has two Jobs and nine pods."""
    run, part = divmod(number, _PER_RUN[kind])
    of, attempt = f"run-{run:05}", {"evalrun.dev/attempt": "1"}
    if kind is EVALRUNS:
        return _common(kind, number, of) | {"managedFields": [_managed("evalrun-operator", {"f:status": {}})]}
    component = "driver" if part == 0 else "replica"
    job = f"{of}-a1-{'driver' if part == 0 else 'replicas'}"
    owner = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "name": of, "uid": uid(EVALRUNS, run)}
    name = job
    if kind is PODS:
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid(JOBS, 2 * run + (part > 0))}
        name = f"{job}-{part}-abcde"
    values = {**dict.fromkeys(_LABELS, owner["uid"]), **attempt, "evalrun.dev/component": component}
    return _common(kind, number, name) | {
        "labels": {**values, "evalrun.dev/run": uid(EVALRUNS, run)},
        "annotations": {"batch.kubernetes.io/job-completion-index": str(part), "evalrun.dev/run-name": of},
        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        "finalizers": ["batch.kubernetes.io/job-tracking"],
        "managedFields": [_managed("kube-controller-manager", _fields()), _managed("kubelet", _status_fields())],
    }


def numbers(kind: Kind, runs: range) -> Sequence[int]:
    """Return the numbers of the objects of a kind that these runs have."""
    return range(runs.start * _PER_RUN[kind], runs.stop * _PER_RUN[kind])


def whole(kind: Kind, number: int) -> Object:
    """Return the n-th Job or pod."""
    return pod(number) if kind is PODS else job(number)


def job(number: int) -> Object:
    """Return the n-th Job as it runs."""
    size = 1 if number % 2 == 0 else RUN_PODS - 1
    template = {"spec": pod(number // 2 * RUN_PODS + number % 2)["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(JOBS, number),
        "spec": {"parallelism": size, "completions": size, "template": template},
        "status": {"active": size, "ready": size, "startTime": "2026-01-01T12:00:00Z"},
    }


def pod(number: int) -> Object:
    """Return the n-th pod as it runs on its node."""
    meta = metadata(PODS, number)
    name = meta["labels"]["evalrun.dev/component"]
    mounts = [{"name": f"v{n}", "mountPath": path} for n, path in enumerate(_MOUNTS)]
    environment = [{"name": f"EVALRUN_{n}", "value": f"{meta['name']}-{n}"} for n in range(10)]
    container = {
        "name": name,
        "image": "ghcr.io/evalrun/runner:0.1.0",
        "command": [f"evalrun-{name}"],
        "env": environment,
        "resources": {"limits": {"nvidia.com/gpu": "2", "memory": "64Gi"}, "requests": {"cpu": "8", "memory": "64Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {
            "nodeName": f"gpu-node-{number % 500}",
            "containers": [container],
            "volumes": [{"name": f"v{n}", "emptyDir": {"sizeLimit": "1Gi"}} for n in range(len(_MOUNTS))],
            "tolerations": [{"key": f"taint-{n}", "operator": "Exists", "effect": "NoExecute"} for n in range(4)],
            "schedulerName": "default-scheduler",
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T12:00:00Z"}
                for kind in conditions
            ],
            "containerStatuses": [
                {
                    "name": name,
                    "image": "ghcr.io/evalrun/runner:0.1.0",
                    "imageID": "ghcr.io/evalrun/runner@sha256:" + "a" * 64,
                    "containerID": "containerd://" + f"{number:064x}",
                    "ready": True,
                    "state": {"running": {"startedAt": "2026-01-01T12:00:00Z"}},
                    "volumeMounts": [{**one, "recursiveReadOnly": "Disabled"} for one in mounts],
                }
            ],
        },
    }


def uid(kind: Kind, number: int) -> str:
    """Return the uid of the n-th object of a kind."""
    return f"{number:08x}-0000-4000-8000-{ord(kind.plural[0]):012x}"


def _common(kind: Kind, number: int, name: str) -> Object:
    return {
        "name": name,
        "namespace": "team",
        "uid": uid(kind, number),
        "resourceVersion": str(10**8 + number),
        "generation": 1,
        "creationTimestamp": "2026-01-01T12:00:00Z",
    }


def _managed(manager: str, fields: Object) -> Object:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T12:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def _fields() -> Object:
    environment: Object = {f'k:{{"name":"EVALRUN_{n}"}}': {".": {}, "f:name": {}, "f:value": {}} for n in range(10)}
    mounts: Object = {f'k:{{"mountPath":"{path}"}}': {".": {}, "f:mountPath": {}, "f:name": {}} for path in _MOUNTS}
    container = {".": {}, **_named("command", "image", "name", "resources"), "f:env": environment}
    return {
        "f:metadata": {"f:labels": {".": {}, **_named(*_LABELS)}, "f:ownerReferences": {".": {}}},
        "f:spec": {
            "f:containers": {'k:{"name":"replica"}': {**container, "f:volumeMounts": mounts}},
            **_named("dnsPolicy", "enableServiceLinks", "restartPolicy", "schedulerName", "tolerations"),
        },
    }


def _status_fields() -> Object:
    kinds = ("ContainersReady", "Initialized", "PodReadyToStartContainers", "Ready")
    conditions = {f'k:{{"type":"{kind}"}}': {".": {}, **_named("status", "reason", "type")} for kind in kinds}
    return {"f:status": {"f:conditions": {".": {}, **conditions}, **_named("hostIP", "phase", "podIP", "startTime")}}


def _named(*names: str) -> Object:
    return {f"f:{name}": {} for name in names}


def metadata_only(kind: Kind, numbers: Iterable[int]) -> list[Object]:
    """Return objects as a list of metadata has them."""
    head = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
    return [{**head, "metadata": metadata(kind, number)} for number in numbers]
