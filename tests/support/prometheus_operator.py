"""The Prometheus Operator's CustomResourceDefinitions: exactly those of the release that a Go module pins."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.binaries import go
from cluster.client import Client
from cluster.errors import ClusterError

_PROGRAM = Path(__file__).with_name("prometheus_operator_crds")
KINDS = ("podmonitors", "servicemonitors", "prometheusrules")


def definitions() -> str:
    """The definitions of ``KINDS``, as YAML. Go keeps the module, so that only the first time needs a network.

    Raises:
        ClusterError: There is no Go, or the module is not to be had.
    """
    done = subprocess.run(
        [go(), "run", "-mod=readonly", "."], cwd=_PROGRAM, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"the Prometheus Operator's definitions are not to be had:\n{done.stderr[-2000:]}")
    wanted = [f"  name: {kind}.monitoring.coreos.com\n" for kind in KINDS]
    documents = done.stdout.split("---\n")
    return "---\n".join(one for one in documents if any(name in one for name in wanted))


def install(cluster: Client, text: str) -> None:
    """Apply the definitions, and wait until the API server serves them."""
    cluster.kubectl("apply", "--server-side", "--filename", "-", stdin=text)
    names = [f"customresourcedefinition/{kind}.monitoring.coreos.com" for kind in KINDS]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
