"""Settings of the operator: one YAML file that the chart writes, read once at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evalrun_api import Resources, Toleration
from evalrun_api.base import HTTP_URL, INT32_MAX
from evalrun_api.rules import camel
from evalrun_api.wire.pods import RESERVED_DIRS, RESERVED_VARIABLES, VOLUME_NAME

SETTINGS_VARIABLE = "EVALRUN_SETTINGS"
"""Environment variable with the path of the file."""


class SettingsError(Exception):
    """Invalid settings file: the operator does not start."""


class _Settings(BaseModel):
    model_config = ConfigDict(
        alias_generator=camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )


class WatchSettings(_Settings):
    """What the operator watches."""

    namespaces: tuple[str, ...] = ()
    """Watched namespaces; none: the whole cluster."""


class ImageSettings(_Settings):
    """The image of drivers and replicas."""

    reference: str = "ghcr.io/evalrun/runner:0.1.0"
    """Repository with tag or digest; only a digest makes a result traceable."""
    pull_policy: str = "IfNotPresent"
    """Always, IfNotPresent or Never."""
    pull_secrets: tuple[str, ...] = ()
    """Names of pull Secrets, in the runs' namespaces."""


class DriverSettings(_Settings):
    """The pods of drivers; those of replicas are described by each EvalRun."""

    resources: Resources = Resources(requests={"cpu": "1", "memory": "2Gi"}, limits={"memory": "8Gi"})
    """Resources of a driver."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of nodes for drivers, which need no GPU."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that drivers tolerate, in addition to those of the run's replicas."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Additional annotations of drivers, such as those that configure scraping by Prometheus."""


RESTRICTED_POD: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of a pod in a namespace with restricted pod security; 1000 is the user and group of the images."""
RESTRICTED_CONTAINER: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""Security context of its container."""


class PodSettings(_Settings):
    """Common settings of all pods of runs."""

    service_account_name: str | None = None
    """ServiceAccount in the runs' namespaces, for workload identity; absent: the namespace's default. No token of the
    API server is mounted either way.
    """
    labels: dict[str, str] = Field(default_factory=dict)
    """Additional labels, for cost centres and service meshes."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Additional annotations."""
    cache_size_limit: str | None = None
    """Limit of the emptyDir for downloaded weights; absent: the node's."""
    tmp_size_limit: str = "10Gi"
    """Limit of /tmp."""
    shared_memory: str = "2Gi"
    """Size of /dev/shm, which counts against the pod's memory."""
    unreachable_seconds: Annotated[int, Field(ge=0)] = 30
    """Seconds for which pods stay bound to a node that is not ready or unreachable before they are replaced.
    """
    env: tuple[dict[str, Any], ...] = ()
    """Additional environment variables, as in a container: proxies, a mirror of the hub, a region."""
    volumes: tuple[dict[str, Any], ...] = ()
    """Additional volumes, as in a pod: certificates, data sets."""
    volume_mounts: tuple[dict[str, Any], ...] = ()
    """Where these volumes are mounted."""
    security_context: dict[str, Any] = Field(default_factory=lambda: dict(RESTRICTED_POD))
    """Security context of the pods; empty where the cluster itself assigns users and groups, as OpenShift does."""
    container_security_context: dict[str, Any] = Field(default_factory=lambda: dict(RESTRICTED_CONTAINER))
    """Security context of their container."""
    host_users: bool | None = None
    """False: the pods have users of their own, so that a user in a pod is nobody on its node; needs Kubernetes 1.33 and
    a container runtime that knows it. Absent: as the cluster does it.
    """
    scheduler_name: str | None = None
    """Scheduler of the pods; absent: the cluster's default."""
    topology_spread_constraints: tuple[dict[str, Any], ...] = ()
    """Spread of the pods over zones or nodes, as in a pod; without a labelSelector over the pods of the same run."""

    @model_validator(mode="after")
    def _leaves_ours_alone(self) -> Self:
        """Refuse what the API server would refuse in every run, or what would replace a part of the contract."""
        for variable in self.env:
            if RESERVED_VARIABLES.fullmatch(str(variable.get("name"))):
                raise ValueError(f"env: {variable.get('name')} is set by EvalRun itself; hint: leave it out")
        names = [str(volume.get("name")) for volume in self.volumes]
        for name in names:
            if VOLUME_NAME.fullmatch(name) or names.count(name) > 1:
                raise ValueError(f"volumes: the name {name} is taken; hint: use another")
        for mount in self.volume_mounts:
            path = str(mount.get("mountPath")).rstrip("/")
            if mount.get("name") not in names:
                raise ValueError(f"volumeMounts: there is no volume {mount.get('name')}, expected one of {names}")
            if any(path == place or path.startswith(f"{place}/") for place in RESERVED_DIRS):
                raise ValueError(f"volumeMounts: {path} belongs to EvalRun; hint: mount it elsewhere, as in /data")
        return self


class LimitSettings(_Settings):
    """What a run may ask for, for clusters that tenants share. What is not set is not limited."""

    max_replicas: Annotated[int | None, Field(ge=1)] = None
    """Replicas of a run, at most."""
    max_gpus: Annotated[int | None, Field(alias="maxGPUs", ge=0)] = None
    """GPUs of all replicas of a run together, at most."""
    priority_classes: tuple[str, ...] | None = None
    """PriorityClasses that a run may name; absent: all but Kubernetes' own, which begin with ``system-``."""
    toleration_keys: tuple[str, ...] | None = None
    """Keys of taints that a run may tolerate; absent: all."""
    runtime_classes: tuple[str, ...] | None = None
    """RuntimeClasses that a run may name; absent: all."""
    model_code: bool = True
    """Whether benchmarks may run code that the model writes (``allowCode``), which runs in a sandbox or not at all."""


class AcceleratorSettings(_Settings):
    """The devices that count as GPUs. Those of known vendors do so by themselves."""

    default: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")] = "nvidia.com/gpu"
    """Resource that a replica requests if its run names none."""
    resources: tuple[str, ...] = ()
    """Further resources that count as GPUs, one device each."""


BLOCKED_NETWORKS = (
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
)
"""Link-local addresses, and metadata services of clouds elsewhere: they hand out the identity of a node."""


class NetworkPolicySettings(_Settings):
    """Who may reach the pods of a run."""

    enabled: bool = True
    """Create a NetworkPolicy per run: only its own pods reach its Ray and its engines."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """NetworkPolicy peers that may reach the progress and metrics port: the operator, Prometheus.
    """
    egress: tuple[dict[str, Any], ...] = ()
    """NetworkPolicy egress rules for runs: the object store, the model hub. None: all that is not blocked."""
    blocked: tuple[str, ...] = BLOCKED_NETWORKS
    """Networks that runs do not reach, where ``egress`` has no rules of its own."""
    metadata_services: tuple[str, ...] = ()
    """Blocked networks that runs reach nevertheless, for workload identity: 169.254.170.23/32 on EKS."""


class ElectionSettings(_Settings):
    """The Lease by which one of several operators is elected to work."""

    namespace: str
    """Namespace of the Lease: that of the operators."""
    name: str = "evalrun-operator"
    """Name of the Lease."""
    lease_seconds: Annotated[int, Field(ge=1)] = 15
    """Seconds without a renewal after which another operator takes over."""
    renew_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Seconds without a successful renewal after which the leader writes nothing more."""
    retry_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Interval of renewals, and of the looks of those who stand by."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.retry_seconds < self.renew_seconds < self.lease_seconds:
            raise ValueError("expected retrySeconds < renewSeconds < leaseSeconds: two operators could lead at once")
        return self


class MetricsSettings(_Settings):
    """The export of finished runs, whose drivers are gone, by /metrics. Those left out are counted."""

    finished_runs: Annotated[int, Field(ge=0)] = 1000
    """Number of finished runs, the newest, that have their own series: scores and gates."""
    finished_days: Annotated[float, Field(gt=0)] = 30.0
    """Days after its end for which a run has its own series."""


class OperatorSettings(_Settings):
    """All settings of an administrator."""

    watch: WatchSettings = WatchSettings()
    """What the operator watches."""
    image: ImageSettings = ImageSettings()
    """The image of drivers and replicas."""
    driver: DriverSettings = DriverSettings()
    """The pods of drivers."""
    pods: PodSettings = PodSettings()
    """Common settings of all pods of runs."""
    election: ElectionSettings | None = None
    """The Lease by which one of several operators is elected; absent: this one leads, and must be the only one."""
    network_policy: NetworkPolicySettings = NetworkPolicySettings()
    """Who may reach the pods of a run."""
    metrics: MetricsSettings = MetricsSettings()
    """The export of finished runs by /metrics."""
    limits: LimitSettings = LimitSettings()
    """What a run may ask for."""
    allowed_endpoints: tuple[Annotated[str, Field(pattern=HTTP_URL.replace("_.-", "_.*-"))], ...] | None = None
    """Stores and mirrors of the hub that a run may name in an endpointURL, as in https://s3.example.com or
    https://*.example.com; absent: all.
    """
    accelerators: AcceleratorSettings = AcceleratorSettings()
    """The devices that count as GPUs."""
    allow_code: bool = False
    """Whether suites of users may contain code (``!function``, code benchmarks): it runs in the run's pods.
    """
    reference_grace_seconds: Annotated[float, Field(ge=0)] = 120.0
    """Seconds for which an object that a run names (a Secret, a ConfigMap, another run) may be missing, as when
    everything is applied at once; after that the run is Invalid.
    """
    queued_driver_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Seconds for which a driver waits for a queue to admit its replicas before it leaves until then, so that queued
    runs hold no pods.
    """
    ttl_seconds_after_finished: Annotated[int | None, Field(ge=0, le=INT32_MAX)] = None
    """Seconds after its end when an EvalRun is deleted whose policy does not say it; absent: never."""
    progress_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Interval at which a running driver is asked for its progress, in seconds."""
    resync_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Interval at which the watches are compared with lists, in seconds."""
    workers: Annotated[int, Field(ge=1)] = 16
    """Number of runs that are reconciled concurrently."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """Port of /healthz and /readyz, which kubelets must reach."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /metrics, which contains names and scores of all runs."""


def load_settings(file: Path | None) -> OperatorSettings:
    """Load the settings of a file, or the defaults without one. Raises ``SettingsError``."""
    if file is None:
        return OperatorSettings()
    try:
        values = yaml.safe_load(file.read_text()) or {}
        return OperatorSettings.model_validate(values, by_alias=True, by_name=False)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not valid YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"{file}: {problems}") from error
