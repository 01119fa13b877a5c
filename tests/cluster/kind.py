"""Clusters of kind, for contributors without root but with Docker: ``CLUSTER=kind``.

NOT VERIFIED: the machines this library was written on have no Docker engine. What it does is written from kind's
documentation; expect to correct it at first use. Nodes are Docker containers: a crash is ``docker kill``, a cut cable
``docker network disconnect``. Single parts cannot be killed (`parts` is empty), so tests that do cannot run there, and
the addresses of pods and services are not reached from outside.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.api import Api, Object
from cluster.binaries import kubernetes_version
from cluster.client import Client, condition, is_ready
from cluster.node import GPU
from cluster.pki import kubeconfig
from cluster.process import run

_NETWORK = "kind"
_READY_S = 180.0


def wanted() -> bool:
    """Return whether the environment selects kind."""
    return os.environ.get("CLUSTER") == "kind"


@dataclass(frozen=True)
class KindNode:
    """Worker node; its faults are those that Docker can cause."""

    name: str
    client: Client
    gpus: int

    def status(self) -> Object:
        return self.client.api.get("nodes", self.name)

    def wait_ready(self, deadline_s: float = _READY_S) -> None:
        """Wait until pods can be placed here, then offer GPUs again, because the kubelet removes them."""

        def usable() -> bool:
            node = self.status()
            return is_ready(node) and not node["spec"].get("taints")

        self.client.wait_for(usable, deadline_s, f"{self.name} to be Ready")
        if self.gpus:
            count = {GPU: str(self.gpus)}
            body = {"status": {"capacity": count, "allocatable": count}}
            self.client.api.patch("nodes", self.name, body, subresource="status")

    def wait_lost(self, deadline_s: float = _READY_S) -> None:
        """Wait until Kubernetes has noticed that the node is lost."""
        self.client.wait_for(
            lambda: condition(self.status(), "Ready") in ("Unknown", "False"), deadline_s, f"{self.name} to be lost"
        )

    def crash(self) -> None:
        run("docker", "kill", self.name)

    def boot(self, deadline_s: float = _READY_S) -> None:
        run("docker", "start", self.name)
        self.wait_ready(deadline_s)

    def cut(self) -> None:
        run("docker", "network", "disconnect", _NETWORK, self.name)

    def heal(self) -> None:
        run("docker", "network", "connect", _NETWORK, self.name)

    def drain(self, *flags: str, deadline_s: float = 120.0) -> None:
        words = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={deadline_s:g}s")
        self.client.kubectl("drain", self.name, *words, *flags, deadline_s=deadline_s + 10)

    def uncordon(self) -> None:
        self.client.kubectl("uncordon", self.name)


class KindCluster(Client):
    """Counterpart of `cluster.cluster.Cluster`, as far as kind allows."""

    enforces_network_policy = True  # kindnetd does since kind 0.24

    def __init__(
        self, nodes: int = 1, *, name: str = "evalrun-test", gpus: int = 0, images: Sequence[Path] = ()
    ) -> None:
        """Store the settings; start nothing yet."""
        self.name = name
        self.parts: dict[str, object] = {}
        self._archives = images
        self._folder = Path(tempfile.mkdtemp(prefix="evalrun-kind-"))
        super().__init__(self._folder / "admin.kubeconfig", Api("https://127.0.0.1", ""))
        workers = [f"{name}-worker{number or ''}" for number in (0, *range(2, nodes + 1))]
        self.nodes = [KindNode(worker, self, gpus) for worker in workers]

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self) -> None:
        """Create the cluster with a control plane and the workers, and load the images."""
        roles = [{"role": "control-plane"}, *({"role": "worker"} for _ in self.nodes)]
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": roles}
        image = f"kindest/node:{kubernetes_version()}"
        words = ("create", "cluster", "--name", self.name, "--image", image, "--config", "-", "--wait", "180s")
        made = self._folder / "kind.kubeconfig"
        run("kind", *words, "--kubeconfig", made, input_text=json.dumps(config), deadline_s=600)
        self._read_access(made)
        for archive in self._archives:
            run("kind", "load", "image-archive", archive, "--name", self.name, deadline_s=1800)
        for node in self.nodes:
            node.wait_ready()

    def down(self) -> None:
        run("kind", "delete", "cluster", "--name", self.name, deadline_s=300)

    def _read_access(self, made: Path) -> None:
        """Convert kind's kubeconfig, which embeds certificates, to files that this library reads."""
        words = ("config", "view", "--raw", "--kubeconfig", str(made), "--output", "json")
        config = json.loads(self.kubectl(*words))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = {
            "ca.crt": cluster["certificate-authority-data"],
            "admin.crt": user["client-certificate-data"],
            "admin.key": user["client-key-data"],
        }
        for name, data in files.items():
            (self._folder / name).write_bytes(base64.b64decode(data))
        ca, crt, key = (self._folder / name for name in files)
        described = kubeconfig(cluster["server"], ca, {"client-certificate": str(crt), "client-key": str(key)})
        self.kubeconfig.write_text(json.dumps(described))
        self.api = Client.of(self.kubeconfig).api
