"""A node of the cluster as tests see it: its machine, and what Kubernetes says of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.api import Object
from cluster.client import Client, condition, is_ready
from cluster.errors import ClusterError
from cluster.machine import KUBELET, Machine
from cluster.process import Daemon, Process
from cluster.state import State

GPU = "nvidia.com/gpu"
_READY_S = 120.0


@dataclass(frozen=True)
class Node:
    """One node; the faults it can have are its methods."""

    state: State
    machine: Machine
    client: Client

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def parts(self) -> dict[str, Daemon]:
        """containerd, kubelet and kube-proxy by name, to kill, stop, continue and start."""
        return self.machine.parts

    def status(self) -> Object:
        """The Node object."""
        return self.client.api.get("nodes", self.name)

    def wait_ready(self, deadline_s: float = _READY_S) -> None:
        """Wait until pods can be placed here: Ready, and the taints of a node that is not are gone."""

        def usable() -> bool:
            node = self.client.api.find("nodes", self.name)
            return node is not None and is_ready(node) and not node["spec"].get("taints")

        self.client.wait_for(usable, deadline_s, f"{self.name} to be Ready")

    def wait_lost(self, deadline_s: float = _READY_S) -> None:
        """Wait until Kubernetes has noticed that the node is gone: Ready is Unknown or False."""
        self.client.wait_for(
            lambda: condition(self.status(), "Ready") in ("Unknown", "False"),
            deadline_s,
            f"{self.name} not to be Ready",
        )

    def crash(self) -> None:
        """A power cut: daemons, containers and connections end at once; the disk stays."""
        self.machine.power_cut()

    def boot(self, deadline_s: float = _READY_S) -> None:
        """Power after `crash`; returns when the node is Ready."""
        self.machine.power_on()
        self.start_agents()
        self.wait_ready(deadline_s)

    def start_agents(self, deadline_s: float = _READY_S) -> None:
        """Start kubelet and kube-proxy if the kubelet does not run; returns when it has registered."""
        kubelet = self.parts[KUBELET]
        if not kubelet.alive:
            said_before = kubelet.said()
            self.machine.start_agents()
            self.wait_registered(said_before, deadline_s)

    def cut(self) -> None:
        """Pull its network cable: containers go on running, Kubernetes loses sight of them."""
        self.machine.cut()

    def heal(self) -> None:
        """Plug the network cable in again."""
        self.machine.heal()

    def drain(self, *flags: str, deadline_s: float = 120.0) -> None:
        """``kubectl drain``; returns when all pods are gone. `uncordon` lets pods come back."""
        words = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={deadline_s:g}s")
        self.client.kubectl("drain", self.name, *words, *flags, deadline_s=deadline_s + 10)

    def uncordon(self) -> None:
        self.client.kubectl("uncordon", self.name)

    def run(self, *command: str | Path) -> str:
        """Run a command on the node as root; its output."""
        return self.machine.run(*command)

    def kill_container(
        self,
        pod: Object,
        container: str | None = None,
        number: int = signal.SIGKILL,
        where: Callable[[str], bool] | None = None,
    ) -> list[Process]:
        """Send a signal to processes in a pod's container, from outside and without its grace.

        Args:
            pod: The Pod object, which runs here.
            container: Its name; the first if there is one only.
            number: The signal.
            where: Which processes, by their command line with spaces; all if None.

        Returns:
            Those that got the signal.

        Raises:
            ClusterError: The pod has no such running container, or no process fits.
        """
        statuses = pod["status"].get("containerStatuses", [])
        ids = [one["containerID"] for one in statuses if container in (None, one["name"]) and "running" in one["state"]]
        if not ids:
            raise ClusterError(f"pod {pod['metadata']['name']} has no running container {container or ''}")
        found = [one for one in self.machine.container_processes(ids[0]) if where is None or where(_command_line(one))]
        if not found:
            raise ClusterError(f"no process of pod {pod['metadata']['name']} fits")
        for process in found:
            process.signal(number)
        return found

    def wait_registered(self, said_before: int = 0, deadline_s: float = _READY_S) -> None:
        """Wait until the kubelet says that it has registered its node, then say that the node has GPUs too.

        A kubelet that registers takes back what others said of its node, so this is done after every start;
        ``said_before`` is where its log ended before that.
        """
        kubelet = self.parts[KUBELET]
        kubelet.wait(lambda: "Successfully registered node" in kubelet.text(said_before), deadline_s, step_s=0.1)
        if self.state.options.gpus:
            count = {GPU: str(self.state.options.gpus)}
            body = {"status": {"capacity": count, "allocatable": count}}
            self.client.api.patch("nodes", self.name, body, subresource="status")


def _command_line(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
