"""Kinds of objects, and writes to the cluster as values, which ``apply`` carries out in order."""

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
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")
WORKLOADS = (
    Kind("kueue.x-k8s.io/v1beta2", "Workload", "workloads"),
    Kind("kueue.x-k8s.io/v1beta1", "Workload", "workloads"),
)
"""Kueue's record of a Job in a queue, by the versions that it serves, newest first."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller of an object: with it the object is garbage-collected."""

    api_version: str
    kind: str
    name: str
    uid: str


def controller_of(metadata: Mapping[str, Any]) -> Owner | None:
    """Return the controller that the metadata of an object name, if there is one."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") is True:
            named = ("apiVersion", "kind", "name", "uid")
            return Owner(*(owner.get(part, "") for part in named))
    return None


@dataclass(frozen=True, slots=True)
class Create:
    """Creation of an object; an object that already has the name is left as it is."""

    kind: Kind
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge patch of an object.

    One that is deleted, another one of the same name, and one of another version than the patch's, are left alone.
    """

    kind: Kind
    name: str
    uid: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletion of exactly this object, with its dependents in the background."""

    kind: Kind
    name: str
    uid: str | None
    """None: of the object of this name, which has the uid of its run in it; nobody else's can have it."""
    grace_seconds: int | None = None
    """0: at once, without waiting for its node; None: its own grace period."""


Change = Create | Patch | Delete


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event, shown by ``kubectl describe``."""

    reason: str
    message: str
    warning: bool = False
