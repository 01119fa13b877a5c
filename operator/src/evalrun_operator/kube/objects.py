"""Writes to the cluster, as values: what ``apply`` does, one after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON values."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object."""

    api_version: str
    kind: str
    plural: str


EVALRUNS = Kind("evalrun.dev/v1alpha1", "EvalRun", "evalruns")
JOBS = Kind("batch/v1", "Job", "jobs")
PODS = Kind("v1", "Pod", "pods")
CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps")
SECRETS = Kind("v1", "Secret", "secrets")
SERVICES = Kind("v1", "Service", "services")
NETWORK_POLICIES = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
CLAIMS = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
NODES = Kind("v1", "Node", "nodes")
EVENTS = Kind("v1", "Event", "events")


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object; one of the name that is there already is left as it is."""

    kind: Kind
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Patch:
    """Change an object by a merge patch; one that is gone, or another of the same name, is left alone."""

    kind: Kind
    name: str
    uid: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly this object, its dependents in the background."""

    kind: Kind
    name: str
    uid: str
    grace_seconds: int | None = None
    """0: at once, without the node's word; None: its own grace period."""


Change = Create | Patch | Delete


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling in ``kubectl describe``."""

    reason: str
    message: str
    warning: bool = False
