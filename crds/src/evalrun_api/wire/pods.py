"""What operator and runner agree on about a run's pods: ports, paths, exit codes, environment."""

from __future__ import annotations

from enum import IntEnum, StrEnum

HTTP_PORT = 8080
"""The driver's endpoint: /readyz, /healthz, /progress, /head, /metrics."""
RAY_PORT = 6379
"""Ray's head (GCS)."""
RAY_PORTS = {
    "node-manager-port": 6380,
    "object-manager-port": 6381,
    "runtime-env-agent-port": 6382,
    "dashboard-agent-grpc-port": 6383,
    "dashboard-agent-listen-port": 6384,
    "metrics-export-port": 6385,
    "min-worker-port": 10002,
    "max-worker-port": 10100,
}
"""Options of ``ray start``: every other port of a pod's Ray is fixed, so that a policy can name them."""

CONFIG_DIR = "/etc/evalrun/run"
CONFIG_KEY = "run.json"
"""The RunConfig, a key of a ConfigMap."""
CREDENTIALS_DIR = "/etc/evalrun/credentials"
"""A folder per Secret, a file per key."""
CA_DIR = "/etc/evalrun/ca"
"""A folder per ConfigMap, a file per key."""
SUITES_DIR = "/etc/evalrun/suites"
"""A folder per benchmark with a source, named by its position in the spec."""
MODELS_DIR = "/models"
"""A folder per claim."""
CACHE_DIR = "/cache"
"""For downloads: an emptyDir, or the claim of spec.model.cache."""
TERMINATION_LOG = "/dev/termination-log"
"""The container's last words: Kubernetes puts them into the pod's status."""

TOKEN_KEY = "token"  # noqa: S105 (the name of a key)
"""Key of the Secret with Ray's token."""

LABEL_RUN = "evalrun.dev/run"
"""On every child: the EvalRun's uid."""
LABEL_ATTEMPT = "evalrun.dev/attempt"
"""On every child of an attempt: its number."""
LABEL_COMPONENT = "evalrun.dev/component"
"""On every child with pods: a ``Component``."""
LABEL_USE = "evalrun.dev/use"
"""On a Secret: ``storage`` allows runs to use it."""
USE_STORAGE = "storage"
ANNOTATION_RUN_NAME = "evalrun.dev/run-name"
"""On every child: the EvalRun's name, for people."""

NO_HEAD_SECONDS = 90
"""A replica's pod without a driver for this long leaves with 0, so that no GPU idles for a driver that is gone."""
FLUSH_GRACE_SECONDS = 60
"""terminationGracePeriodSeconds of a run's pods: what is complete is committed within."""


class Component(StrEnum):
    """The kinds of pods."""

    DRIVER = "driver"
    REPLICA = "replica"


class Environment(StrEnum):
    """Variables of a run's pods."""

    CONFIG = "EVALRUN_CONFIG"
    """File of the RunConfig."""
    IMAGE = "EVALRUN_IMAGE"
    """The image that the pod runs, for the provenance."""
    HEAD = "EVALRUN_HEAD"
    """Host name of the driver's Service, in replicas."""
    TERMINATION_LOG = "EVALRUN_TERMINATION_LOG"
    """Where the last words go; absent: TERMINATION_LOG."""
    POD_NAME = "POD_NAME"
    POD_IP = "POD_IP"
    NODE_NAME = "NODE_NAME"


class ExitCode(IntEnum):
    """What the driver's process ends with in a cluster."""

    DONE = 0
    """COMPLETE exists; verdicts of gates are conditions, no exit codes."""
    FAILED = 1
    """This attempt failed; another one may mend it."""
    INVALID = 2
    """The input is wrong; no attempt mends it."""
    FINAL = 3
    """Failed for good; no attempt mends it."""
    SUPERSEDED = 75
    """A driver with a higher epoch has the run."""
    STOPPED = 143
    """Asked to stop by SIGTERM; what was complete is committed."""


class HeadState(StrEnum):
    """What a driver tells its replicas' pods."""

    STARTING = "starting"
    """Preflight; Ray's head does not listen yet."""
    OPEN = "open"
    """Join."""
    DONE = "done"
    """Leave with 0: nothing more will be asked."""
