"""The pods of a run, valid in a namespace with restricted pod security.

A tenant controls only the fields of the typed spec, one by one, and nothing else of a pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalrun_api import EvalRun, Resources, TaintEffect, Toleration
from evalrun_api.wire.pods import (
    CACHE_DIR,
    CONFIG_DIR,
    CONFIG_KEY,
    FIRST_HEAD_SECONDS,
    FLUSH_GRACE_SECONDS,
    HTTP_PORT,
    LABEL_COMPONENT,
    LABEL_RUN,
    RAY_PORT,
    TERMINATION_LOG,
    TOKEN_KEY,
    Component,
    Environment,
)
from evalrun_operator.backend.identity import Identity
from evalrun_operator.backend.resources import replica_resources
from evalrun_operator.backend.volumes import mounts, volumes
from evalrun_operator.settings import OperatorSettings

USER_NAME = "evalrun"
COMMANDS = {Component.DRIVER: "evalrun-driver", Component.REPLICA: "evalrun-replica"}

_LOST_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def pod_template(
    run: EvalRun,
    identity: Identity,
    settings: OperatorSettings,
    component: Component,
    queue: str | None = None,
) -> dict[str, Any]:
    """Build the template of a Job's pods.

    Args:
        run: The run.
        identity: The attempt.
        settings: The operator's settings, with the image of the run.
        component: The kind of pods.
        queue: The queue that admits replicas; None without one.
    """
    parts = volumes(mounts(run, identity.config_map, settings.pods))
    of_drivers = settings.driver.annotations if component is Component.DRIVER else {}
    container = {
        "name": component.value,
        "image": settings.image.reference,
        "imagePullPolicy": settings.image.pull_policy,
        "command": [COMMANDS[component]],
        "env": _environment(identity, settings, component, queue),
        "resources": _resources(
            settings.driver.resources
            if component is Component.DRIVER
            else replica_resources(run.spec, settings.accelerators)
        ),
        **_if_set("securityContext", settings.pods.container_security_context),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*parts["volumeMounts"], *settings.pods.volume_mounts],
        **(_DRIVER_ENDPOINT if component is Component.DRIVER else {}),
    }
    return {
        "metadata": {
            "labels": {**settings.pods.labels, **identity.labels(component)},
            "annotations": {**settings.pods.annotations, **of_drivers, **identity.annotations},
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": FLUSH_GRACE_SECONDS,
            **_if_set("securityContext", settings.pods.security_context),
            **_administrators_part(settings, identity, component),
            **_placement(run, settings, component),
            "containers": [container],
            "volumes": [*parts["volumes"], *settings.pods.volumes],
        },
    }


_DRIVER_ENDPOINT: Mapping[str, Any] = {
    "ports": [{"name": "http", "containerPort": HTTP_PORT}, {"name": "ray", "containerPort": RAY_PORT}],
    # Ready: preflight has passed. Replicas are created then, so it is probed often and not withdrawn quickly.
    "readinessProbe": {
        "httpGet": {"path": "/readyz", "port": HTTP_PORT},
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": 30,
    },
    # Planning and aggregation keep a processor busy: only a driver that is silent for minutes is dead.
    "livenessProbe": {
        "httpGet": {"path": "/healthz", "port": HTTP_PORT},
        "initialDelaySeconds": 120,
        "periodSeconds": 15,
        "timeoutSeconds": 10,
        "failureThreshold": 12,
    },
}


def _environment(
    identity: Identity, settings: OperatorSettings, component: Component, queue: str | None
) -> list[dict[str, Any]]:
    """Build the environment: an administrator's variables replace the defaults, those of the contract replace both."""
    token = {"secretKeyRef": {"name": identity.token_secret, "key": TOKEN_KEY}}
    defaults: dict[str, Any] = {
        "HOME": "/tmp/home",  # noqa: S108 (the pod's own)
        "XDG_CACHE_HOME": CACHE_DIR,
        # Where the cluster assigns the user, no file names it, and libraries that ask for its name fail.
        "USER": USER_NAME,
        "LOGNAME": USER_NAME,
    }
    administrators = {each["name"]: each.get("valueFrom", each.get("value", "")) for each in settings.pods.env}
    values: dict[str, Any] = {
        **defaults,
        **administrators,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        Environment.CONFIG: f"{CONFIG_DIR}/{CONFIG_KEY}",
        Environment.IMAGE: settings.image.reference,
        Environment.POD_NAME: {"fieldRef": {"fieldPath": "metadata.name"}},
        Environment.POD_IP: {"fieldRef": {"fieldPath": "status.podIP"}},
        Environment.NODE_NAME: {"fieldRef": {"fieldPath": "spec.nodeName"}},
    }
    if component is Component.REPLICA:
        values[Environment.HEAD] = identity.head
        if queue:
            values[Environment.FIRST_HEAD_SECONDS] = str(FIRST_HEAD_SECONDS)
    return [
        {"name": str(name), **({"value": value} if isinstance(value, str) else {"valueFrom": value})}
        for name, value in values.items()
    ]


def _if_set(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value)} if value else {}


def _administrators_part(settings: OperatorSettings, identity: Identity, component: Component) -> dict[str, Any]:
    part: dict[str, Any] = {}
    if settings.pods.host_users is not None:
        part["hostUsers"] = settings.pods.host_users
    if settings.pods.scheduler_name is not None:
        part["schedulerName"] = settings.pods.scheduler_name
    if settings.pods.topology_spread_constraints:
        own = {"labelSelector": {"matchLabels": {LABEL_RUN: identity.uid, LABEL_COMPONENT: component.value}}}
        part["topologySpreadConstraints"] = [own | each for each in settings.pods.topology_spread_constraints]
    if settings.pods.service_account_name is not None:
        part["serviceAccountName"] = settings.pods.service_account_name
    if settings.image.pull_secrets:
        part["imagePullSecrets"] = [{"name": name} for name in settings.image.pull_secrets]
    return part


def _placement(run: EvalRun, settings: OperatorSettings, component: Component) -> dict[str, Any]:
    """Build the scheduling fields.

    Drivers follow the administrator's settings, and tolerate what the run's replicas tolerate.
    """
    replicas = run.spec.replicas
    tolerations, selector, runtime_class = replicas.tolerations, replicas.node_selector, replicas.runtime_class_name
    if component is Component.DRIVER:
        tolerations = (*tolerations, *settings.driver.tolerations)
        selector, runtime_class = settings.driver.node_selector, None
    part: dict[str, Any] = {"tolerations": _tolerations(tolerations, settings.pods.unreachable_seconds)}
    if selector:
        part["nodeSelector"] = dict(selector)
    if replicas.priority_class_name is not None:
        part["priorityClassName"] = replicas.priority_class_name
    if runtime_class is not None:
        part["runtimeClassName"] = runtime_class
    return part


def _tolerations(given: Sequence[Toleration], unreachable_seconds: int) -> list[dict[str, Any]]:
    """Add a short stay on lost nodes where no toleration covers it: the default of Kubernetes is 5 min."""
    unsaid = [key for key in _LOST_NODE_TAINTS if not any(_tolerates(toleration, key) for toleration in given)]
    stays = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": unreachable_seconds}
        for key in unsaid
    ]
    return [toleration.to_dict() for toleration in given] + stays


def _tolerates(toleration: Toleration, key: str) -> bool:
    return toleration.key in {None, key} and toleration.effect in {None, TaintEffect.NO_EXECUTE}


def _resources(resources: Resources) -> dict[str, Any]:
    parts: Iterable[tuple[str, Mapping[str, int | str]]] = (
        ("limits", resources.limits),
        ("requests", resources.requests),
    )
    # As strings: the API server normalizes them to strings, and what is written should equal what is read.
    return {part: {name: str(amount) for name, amount in values.items()} for part, values in parts if values}
