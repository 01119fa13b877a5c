"""The two Jobs of an attempt."""

from __future__ import annotations

from typing import Any

from evalrun_api import EvalRun
from evalrun_api.wire.pods import Component, ExitCode
from evalrun_operator.backend.children import ANNOTATION_SPENT
from evalrun_operator.backend.identity import Identity
from evalrun_operator.backend.pods import pod_template
from evalrun_operator.kube.objects import Manifest
from evalrun_operator.names import LABEL_QUEUE
from evalrun_operator.settings import OperatorSettings

LABEL_PRIORITY = "kueue.x-k8s.io/priority-class"
"""Label of an EvalRun and its replicas: Kueue's own priority within the queue."""
MIN_PARALLELISM = "kueue.x-k8s.io/job-min-parallelism"
"""Annotation: the number of pods with which Kueue may admit a Job; Kueue rejects one that is not below its parallelism.
"""
COMPLETIONS_EQUAL_PARALLELISM = "kueue.x-k8s.io/job-completions-equal-parallelism"
"""Annotation that makes Kueue change completions along with parallelism."""

FAILURES_PER_INDEX = 20
"""Failures of one replica, without disruptions, after which it is not replaced any more. With delays of 10 s, 20 s, …
up to 10 min between them that takes hours. The others continue: ``maxFailedIndexes`` is not set. A driver whose
replicas all die reports it long before.
"""

_IGNORE_DISRUPTIONS = {
    "action": "Ignore",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
}


def driver_job(
    run: EvalRun, identity: Identity, settings: OperatorSettings, seconds_left: int | None, seconds_spent: int = 0
) -> Manifest:
    """Build the Job of Ray's head and the driver, in one pod without a GPU.

    One failure fails the attempt; disruptions do not count. Exit code 143 does, unless the pod was to leave: a kubelet
    stops a driver with it that does not answer its liveness probe.

    Args:
        run: The run.
        identity: The attempt.
        settings: The operator's settings, with the image of the run.
        seconds_left: Seconds after which Kubernetes ends the Job, whether the operator runs or not; None for no limit.
        seconds_spent: Seconds of the run's limit that are used up.
    """
    spec: dict[str, Any] = {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                _on_exit(Component.DRIVER, "FailJob", ExitCode.INVALID, ExitCode.FINAL),
                _IGNORE_DISRUPTIONS,
                _on_exit(Component.DRIVER, "Ignore", ExitCode.SUPERSEDED),
            ]
        },
        "template": pod_template(run, identity, settings, Component.DRIVER),
    }
    if seconds_left is not None:
        spec["activeDeadlineSeconds"] = max(1, seconds_left)
    spent = {ANNOTATION_SPENT: str(seconds_spent)} if seconds_spent or identity.attempt > 1 else {}
    return _job(identity, Component.DRIVER, spec, annotations=spent)


def replicas_job(
    run: EvalRun, identity: Identity, settings: OperatorSettings, count: int, queue: str | None = None
) -> Manifest:
    """Build the Job of ``count`` Ray nodes with an engine each; an index is a replica, with one pod at a time.

    ``queue`` is the one that is known to admit it, also where Kueue's webhook is what names it.
    """
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": count,
        "backoffLimitPerIndex": FAILURES_PER_INDEX,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [_IGNORE_DISRUPTIONS, _on_exit(Component.REPLICA, "Ignore", ExitCode.STOPPED)],
        },
        "template": pod_template(run, identity, settings, Component.REPLICA, queue),
    }
    labels = {key: run.metadata.labels[key] for key in (LABEL_QUEUE, LABEL_PRIORITY) if run.metadata.labels.get(key)}
    annotations = {}
    if LABEL_QUEUE in labels:
        # From now on only Kueue sets suspend and parallelism.
        spec["suspend"] = True
        fewest = run.spec.replicas.resolved_min_count
        if fewest < count:
            annotations = {MIN_PARALLELISM: str(fewest), COMPLETIONS_EQUAL_PARALLELISM: "true"}
    return _job(identity, Component.REPLICA, spec, labels=labels, annotations=annotations)


def _job(
    identity: Identity,
    component: Component,
    spec: dict[str, Any],
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": identity.metadata(
            identity.job(component), {**(labels or {}), **identity.labels(component)}, **(annotations or {})
        ),
        "spec": spec,
    }


def _on_exit(component: Component, action: str, *codes: ExitCode) -> dict[str, Any]:
    return {
        "action": action,
        "onExitCodes": {
            "containerName": component.value,
            "operator": "In",
            # The API server requires them in order.
            "values": sorted(code.value for code in codes),
        },
    }
