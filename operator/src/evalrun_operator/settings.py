"""Settings of the operator: one YAML file that the chart writes, read once at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evalrun_api import Resources, Toleration
from evalrun_api.rules import camel

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


class NetworkPolicySettings(_Settings):
    """Who may reach the pods of a run."""

    enabled: bool = True
    """Create a NetworkPolicy per run: only its own pods reach its Ray and its engines."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """NetworkPolicy peers that may reach the progress and metrics port: the operator, Prometheus.
    """
    egress: tuple[dict[str, Any], ...] = ()
    """NetworkPolicy egress rules for runs: the object store, the model hub. None: all egress is allowed.
    """


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
    allow_code: bool = False
    """Whether suites of users may contain code (``!function``, code benchmarks): it runs in the run's pods.
    """
    reference_grace_seconds: Annotated[float, Field(ge=0)] = 120.0
    """Seconds for which an object that a run names (a Secret, a ConfigMap, another run) may be missing, as when
    everything is applied at once; after that the run is Invalid.
    """
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
