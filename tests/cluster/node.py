"""Node of the cluster for tests: its machine, and its Node object."""

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
    """Node of the cluster; its methods cause faults."""

    state: State
    machine: Machine
    client: Client

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def parts(self) -> dict[str, Daemon]:
        """Daemons by name (containerd, kubelet, kube-proxy), to kill, stop, continue and start."""
        return self.machine.parts

    def status(self) -> Object:
        """Return the Node object."""
        return self.client.api.get("nodes", self.name)

    def wait_ready(self, deadline_s: float = _READY_S) -> None:
        """Wait until pods can be placed here: it is Ready, and the taints of a node that is not ready are removed."""

        def usable() -> bool:
            node = self.client.api.find("nodes", self.name)
            return node is not None and is_ready(node) and not node["spec"].get("taints")

        self.client.wait_for(usable, deadline_s, f"{self.name} to be Ready")

    def wait_lost(self, deadline_s: float = _READY_S) -> None:
        """Wait until Kubernetes has noticed that the node is lost: Ready is Unknown or False."""
        self.client.wait_for(
            lambda: condition(self.status(), "Ready") in ("Unknown", "False"),
            deadline_s,
            f"{self.name} not to be Ready",
        )

    def crash(self) -> None:
        """Cut the power: daemons, containers and connections end at once; the disk stays."""
        self.machine.power_cut()

    def boot(self, deadline_s: float = _READY_S) -> None:
        """Restore the power after `crash`; return when the node is Ready."""
        self.machine.power_on()
        self.start_agents()
        self.wait_ready(deadline_s)

    def start_agents(self, deadline_s: float = _READY_S) -> None:
        """Start kubelet and kube-proxy if the kubelet does not run; return when it has registered."""
        kubelet = self.parts[KUBELET]
        if not kubelet.alive:
            said_before = kubelet.said()
            self.machine.start_agents()
            self.wait_registered(said_before, deadline_s)

    def cut(self) -> None:
        """Disconnect its network: containers continue to run, but Kubernetes cannot reach them."""
        self.machine.cut()

    def heal(self) -> None:
        """Connect its network again."""
        self.machine.heal()

    def drain(self, *flags: str, deadline_s: float = 120.0) -> None:
        """Drain the node with ``kubectl drain``; return when all pods are deleted. `uncordon` admits pods again."""
        words = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={deadline_s:g}s")
        self.client.kubectl("drain", self.name, *words, *flags, deadline_s=deadline_s + 10)

    def uncordon(self) -> None:
        self.client.kubectl("uncordon", self.name)

    def run(self, *command: str | Path) -> str:
        """Run a command on the node as root, and return its output."""
        return self.machine.run(*command)

    def kill_container(
        self,
        pod: Object,
        container: str | None = None,
        number: int = signal.SIGKILL,
        where: Callable[[str], bool] | None = None,
    ) -> list[Process]:
        """Send a signal to processes in a pod's container, from outside and without its grace period.

        Args:
            pod: The Pod object; it must run on this node.
            container: Its name; by default the first.
            number: The signal.
            where: Selects processes by their command lines, joined with spaces; all if None.

        Returns:
            The processes that got the signal.

        Raises:
            ClusterError: The pod has no such running container, or no process matches.
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
        """Wait until the kubelet has registered its node, then add GPUs to the node's capacity.

        When it registers, the kubelet overwrites what others wrote about its node, so this is done after every start;
        ``said_before`` is the offset in its log before the start.
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
