"""Settings of the operator: one YAML file that the chart writes, read once at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalrun_api.rules import camel
from evalrun_api.spec.replicas import Resources, Toleration

SETTINGS_VARIABLE = "EVALRUN_SETTINGS"
"""Environment variable with the file's path."""


class SettingsError(Exception):
    """The settings file is wrong: the operator does not start."""


class _Settings(BaseModel):
    model_config = ConfigDict(
        alias_generator=camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )


class WatchSettings(_Settings):
    """What is watched."""

    namespaces: tuple[str, ...] = ()
    """These namespaces only; none: the whole cluster."""


class ImageSettings(_Settings):
    """The image of drivers and replicas."""

    reference: str = "ghcr.io/evalrun/runner:0.1.0"
    """Repository with tag or digest; a digest is what a number can be traced to."""
    pull_policy: str = "IfNotPresent"
    """Always, IfNotPresent or Never."""
    pull_secrets: tuple[str, ...] = ()
    """Names of pull Secrets, in the runs' namespaces."""


class DriverSettings(_Settings):
    """Pods of drivers; replicas are described by each EvalRun."""

    resources: Resources = Resources(requests={"cpu": "1", "memory": "2Gi"}, limits={"memory": "8Gi"})
    """Resources of a driver."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of nodes for drivers, which need no GPU."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that drivers tolerate, besides those of the run's replicas."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """More annotations of drivers, as those that say where Prometheus scrapes."""


class PodSettings(_Settings):
    """What all pods of runs have in common."""

    service_account_name: str | None = None
    """ServiceAccount in the runs' namespaces, for workload identity; absent: the namespace's default. No token of the
    API server is mounted either way.
    """
    labels: dict[str, str] = Field(default_factory=dict)
    """More labels, as cost centres and meshes want them."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """More annotations."""
    cache_size_limit: str | None = None
    """Limit of the emptyDir that weights are downloaded to; absent: the node's."""
    tmp_size_limit: str = "10Gi"
    """Limit of /tmp."""
    shared_memory: str = "2Gi"
    """Size of /dev/shm, which counts against the pod's memory."""
    unreachable_seconds: Annotated[int, Field(ge=0)] = 30
    """How long pods stay bound to a node that is not ready or unreachable before they are replaced."""


class NetworkPolicySettings(_Settings):
    """Who may reach the pods of a run."""

    enabled: bool = True
    """Make a NetworkPolicy per run: its own pods, and only they, reach its Ray and its engines."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """NetworkPolicy peers that may reach the progress and metrics port: the operator, Prometheus."""
    egress: tuple[dict[str, Any], ...] = ()
    """NetworkPolicy egress rules for runs: the object store, the model hub. None: all egress is allowed."""


class MetricsSettings(_Settings):
    """What /metrics tells of finished runs, whose drivers are gone. Those left out are counted."""

    finished_runs: Annotated[int, Field(ge=0)] = 1000
    """So many of them, the newest, have series of their own: scores and gates."""
    finished_days: Annotated[float, Field(gt=0)] = 30.0
    """For so long after their end."""


class OperatorSettings(_Settings):
    """Everything an administrator decides."""

    watch: WatchSettings = WatchSettings()
    """What is watched."""
    image: ImageSettings = ImageSettings()
    """The image of drivers and replicas."""
    driver: DriverSettings = DriverSettings()
    """Pods of drivers."""
    pods: PodSettings = PodSettings()
    """What all pods of runs have in common."""
    network_policy: NetworkPolicySettings = NetworkPolicySettings()
    """Who may reach the pods of a run."""
    metrics: MetricsSettings = MetricsSettings()
    """What /metrics tells of finished runs."""
    allow_code: bool = False
    """Suites of users may hold code (``!function``, code benchmarks): it runs in the run's pods."""
    reference_grace_seconds: Annotated[float, Field(ge=0)] = 120.0
    """For how long an object that a run names (a Secret, a ConfigMap, another run) may be missing, as when everything
    is applied at once; then the run is Invalid.
    """
    progress_seconds: Annotated[float, Field(gt=0)] = 5.0
    """How often a running driver is asked for its progress."""
    resync_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How often every run is looked at without an event."""
    workers: Annotated[int, Field(ge=1)] = 16
    """Runs that are reconciled at the same time."""
    health_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """Port of /healthz and /readyz, which kubelets have to reach."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /metrics: names and scores of everybody's runs."""


def load_settings(file: Path | None) -> OperatorSettings:
    """The settings of a file, the defaults without one. Raises ``SettingsError``."""
    if file is None:
        return OperatorSettings()
    try:
        values = yaml.safe_load(file.read_text()) or {}
        return OperatorSettings.model_validate(values, by_alias=True, by_name=False)
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is no YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"{file}: {problems}") from error
