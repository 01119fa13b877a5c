"""Nodes without machines, for tests with many objects: kwok reports their pods as running, but nothing runs.

with Cluster(nodes=0, fakes=FakeNodes(4)) as cluster: …

A pod on such a node is Running and Ready at once; deleted, it ends with 143 as if it had flushed; with the annotation
``fake/exit-code`` it ends with that code, its termination message being that of ``fake/message``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.api import Object
from cluster.client import Client, is_ready

EXIT_CODE = "fake/exit-code"
MESSAGE = "fake/message"
_READY_S = 30.0
_STAGES = Path(__file__).with_name("fake_pods.yaml")


@dataclass(frozen=True)
class FakeNodes:
    """Number of fake nodes, their capacity, and the address that all their pods have.

    At ``pod_address`` a server of the test may answer for the pods; if it is None, each pod gets an address where
    nothing listens.
    """

    count: int
    gpus: int = 1000
    pod_address: str | None = None


def command(program: Path, kubeconfig: Path, stages: Path) -> list[str]:
    """Build the process of kwok."""
    return [
        *(str(program), f"--kubeconfig={kubeconfig}", f"--config={stages}"),
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=8",
        "--cidr=10.255.0.1/16",
    ]


def create(client: Client, fakes: FakeNodes) -> None:
    """Create the nodes, and wait until they are Ready."""
    names = [f"fake-{number}" for number in range(fakes.count)]
    for name in names:
        client.api.create(_node(name, fakes.gpus))
    for name in names:
        client.wait_for(partial(_is_ready, client, name), _READY_S, f"{name} to be Ready")


def end_pod(client: Client, name: str, namespace: str, code: int, message: str = "") -> None:
    """End a pod on a fake node, as if by itself."""
    client.api.patch("pods", name, {"metadata": {"annotations": {EXIT_CODE: str(code), MESSAGE: message}}}, namespace)


def _is_ready(client: Client, name: str) -> bool:
    return is_ready(client.api.get("nodes", name))


def _node(name: str, gpus: int) -> Object:
    offers = {"cpu": "1000", "memory": "10Ti", "pods": "10000", "nvidia.com/gpu": str(gpus)}
    meta = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": name}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"capacity": offers, "allocatable": offers}}


def stages(fakes: FakeNodes) -> str:
    """Return kwok's rules for pods, in YAML; for nodes kwok has its own."""
    own = "{{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}"
    return _STAGES.read_text().replace("@ADDRESS@", json.dumps(fakes.pod_address) if fakes.pod_address else own)
