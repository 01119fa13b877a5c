"""The two Jobs of an attempt."""

from __future__ import annotations

from typing import Any

from evalrun_api import EvalRun
from evalrun_api.wire.pods import Component, ExitCode
from evalrun_operator.backend.identity import Identity
from evalrun_operator.backend.pods import pod_template
from evalrun_operator.kube.objects import Manifest
from evalrun_operator.names import LABEL_QUEUE
from evalrun_operator.settings import OperatorSettings

LABEL_PRIORITY = "kueue.x-k8s.io/priority-class"
"""On an EvalRun and its replicas: Kueue's own priority within the queue."""
MIN_PARALLELISM = "kueue.x-k8s.io/job-min-parallelism"
"""With how many pods Kueue may admit a Job; below its parallelism, else Kueue refuses it."""
COMPLETIONS_EQUAL_PARALLELISM = "kueue.x-k8s.io/job-completions-equal-parallelism"
"""Kueue then changes completions along with parallelism."""

FAILURES_PER_INDEX = 20
"""Failures of one replica, disruptions aside, after which it is given up; at 10 s, 20 s, … up to 10 min between them
that is hours. The others go on: ``maxFailedIndexes`` is left out. A driver whose replicas all die says so long before.
"""

_IGNORE_DISRUPTIONS = {
    "action": "Ignore",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
}


def driver_job(run: EvalRun, identity: Identity, settings: OperatorSettings, seconds_left: int | None) -> Manifest:
    """Ray's head and the driver in one pod without a GPU. One failure is the attempt's; disruptions are none.

    ``seconds_left``: after so many the Job is ended by Kubernetes, operator up or down.
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
                _on_exit(Component.DRIVER, "Ignore", ExitCode.SUPERSEDED, ExitCode.STOPPED),
            ]
        },
        "template": pod_template(run, identity, settings, Component.DRIVER),
    }
    if seconds_left is not None:
        spec["activeDeadlineSeconds"] = max(1, seconds_left)
    return _job(identity, Component.DRIVER, spec)


def replicas_job(run: EvalRun, identity: Identity, settings: OperatorSettings, count: int) -> Manifest:
    """``count`` Ray nodes with an engine each; an index is a replica, its pods come one after another."""
    spec: dict[str, Any] = {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": count,
        "backoffLimitPerIndex": FAILURES_PER_INDEX,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [_IGNORE_DISRUPTIONS, _on_exit(Component.REPLICA, "Ignore", ExitCode.STOPPED)],
        },
        "template": pod_template(run, identity, settings, Component.REPLICA),
    }
    queue = {key: run.metadata.labels[key] for key in (LABEL_QUEUE, LABEL_PRIORITY) if run.metadata.labels.get(key)}
    annotations = {}
    if LABEL_QUEUE in queue:
        # From here on Kueue alone sets suspend and parallelism.
        spec["suspend"] = True
        fewest = run.spec.replicas.resolved_min_count
        if fewest < count:
            annotations = {MIN_PARALLELISM: str(fewest), COMPLETIONS_EQUAL_PARALLELISM: "true"}
    return _job(identity, Component.REPLICA, spec, labels=queue, annotations=annotations)


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
            # The API server wants them in order.
            "values": sorted(code.value for code in codes),
        },
    }
