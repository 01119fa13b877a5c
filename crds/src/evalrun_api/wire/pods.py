"""Agreement between operator and runner about a run's pods: ports, paths, exit codes, environment."""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum

HTTP_PORT = 8080
"""Port of the driver's endpoint: /readyz, /healthz, /progress, /head, /metrics."""
RAY_PORT = 6379
"""Port of Ray's head (GCS)."""
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
"""Options of ``ray start``: every other port of a pod's Ray is fixed, so that a policy can name it."""

CONFIG_DIR = "/etc/evalrun/run"
CONFIG_KEY = "run.json"
"""Key of the RunConfig in a ConfigMap."""
CREDENTIALS_DIR = "/etc/evalrun/credentials"
"""One folder per Secret, one file per key."""
CA_DIR = "/etc/evalrun/ca"
"""One folder per ConfigMap, one file per key."""
SUITES_DIR = "/etc/evalrun/suites"
"""One folder per benchmark with a source, named by its position in the spec."""
MODELS_DIR = "/models"
"""One folder per claim."""
CACHE_DIR = "/cache"
"""Folder for downloads: an emptyDir, or the claim of spec.model.cache."""
RESERVED_DIRS = ("/etc/evalrun", MODELS_DIR, CACHE_DIR, "/tmp", "/dev")  # noqa: S108 (the pod's own)
"""Folders of a pod in which an administrator mounts nothing."""
VOLUME_NAME = re.compile(r"v[0-9]+")
"""Names of EvalRun's own volumes."""
TERMINATION_LOG = "/dev/termination-log"
"""File of the container's termination message, which Kubernetes copies into the pod's status."""

TOKEN_KEY = "token"  # noqa: S105 (the name of a key)
"""Key of the Secret with Ray's token."""

LABEL_RUN = "evalrun.dev/run"
"""Label of every child: uid of the EvalRun."""
LABEL_ATTEMPT = "evalrun.dev/attempt"
"""Label of every child of an attempt: its number."""
LABEL_COMPONENT = "evalrun.dev/component"
"""Label of every child with pods: a ``Component``."""
LABEL_USE = "evalrun.dev/use"
"""Label of a Secret, ConfigMap or claim: ``storage`` allows runs to use it."""
USE_STORAGE = "storage"
ANNOTATION_RUN_NAME = "evalrun.dev/run-name"
"""Annotation of every child: name of the EvalRun, for people. No program trusts it."""

NO_HEAD_SECONDS = 90
"""Seconds without a driver after which a replica's pod exits with 0, so that no GPU idles for a lost driver."""
FIRST_HEAD_SECONDS = 600
"""The same for a pod of a queued run that no driver has answered yet: its driver is made when the queue admits the run,
and may need a new node.
"""
FLUSH_GRACE_SECONDS = 60
"""terminationGracePeriodSeconds of a run's pods: complete work is committed within it."""


class Component(StrEnum):
    """Kinds of pods."""

    DRIVER = "driver"
    REPLICA = "replica"


class Environment(StrEnum):
    """Environment variables of a run's pods."""

    CONFIG = "EVALRUN_CONFIG"
    """File of the RunConfig."""
    IMAGE = "EVALRUN_IMAGE"
    """Image of the pod, for the record of the run."""
    HEAD = "EVALRUN_HEAD"
    """Host name of the driver's Service, in replicas."""
    FIRST_HEAD_SECONDS = "EVALRUN_FIRST_HEAD_SECONDS"
    """Seconds that a replica's pod waits for its first driver; absent: NO_HEAD_SECONDS."""
    TERMINATION_LOG = "EVALRUN_TERMINATION_LOG"
    """File of the termination message; absent: TERMINATION_LOG."""
    POD_NAME = "POD_NAME"
    POD_IP = "POD_IP"
    NODE_NAME = "NODE_NAME"


RESERVED_VARIABLES = re.compile(r"EVALRUN_.*|POD_NAME|POD_IP|NODE_NAME|RAY_AUTH_MODE|RAY_AUTH_TOKEN")
"""Names of environment variables that an administrator does not set."""


class ExitCode(IntEnum):
    """Exit codes of the driver's process in a cluster."""

    DONE = 0
    """COMPLETE exists; verdicts of gates are conditions, not exit codes."""
    FAILED = 1
    """This attempt failed; another one may succeed."""
    INVALID = 2
    """The input is wrong; no other attempt helps."""
    FINAL = 3
    """The run failed for good; no other attempt helps."""
    SUPERSEDED = 75
    """A driver with a higher epoch owns the run."""
    STOPPED = 143
    """SIGTERM asked the driver to stop; what was complete is committed."""


class HeadState(StrEnum):
    """State that a driver reports to its replicas' pods."""

    STARTING = "starting"
    """Preflight; Ray's head does not listen yet."""
    OPEN = "open"
    """Replicas may join."""
    DONE = "done"
    """Replicas exit with 0: there is no more work."""
