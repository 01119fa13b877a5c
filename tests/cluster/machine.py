"""Machine of a node, made of namespaces and control groups; to Kubernetes it looks like a separate machine.

Its process 1 holds a mount, a process, a name and a network namespace. In there run containerd, the kubelet and
kube-proxy; killing process 1 takes all of them with it, and the pods, as a power cut does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import cgroups, network, settings
from cluster.binaries import KUBE, binary
from cluster.errors import ClusterError
from cluster.pki import Pki
from cluster.process import Daemon, Process, run
from cluster.state import State

CONTAINERD, KUBELET, PROXY = "containerd", "kubelet", "kube-proxy"
_INIT = "init"

# How soon a client notices a dead connection; by default a reconnected node is silent for another half minute.
_NOTICE = ("env", "HTTP2_READ_IDLE_TIMEOUT_SECONDS=3", "HTTP2_PING_TIMEOUT_SECONDS=2")

# Process 1. All fixed paths of programs are private to the node; data that survive a reboot are below its folder.
# /run and the kubelet's folder are shared mounts, because pods' volumes must reach their containers.
_BOOT = """
set -e
folder=$1
hostname "$2"
mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock && mount --make-rshared /run
mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/kubelet /var/lib/cni
mount --bind "$folder/kubelet" /var/lib/kubelet && mount --make-rshared /var/lib/kubelet
mount --bind "$folder/cni" /var/lib/cni
mount -t tmpfs tmpfs /var/log && mkdir /var/log/pods /var/log/containers
mount --bind "$folder/pod-logs" /var/log/pods
touch "$folder/booted"
trap : CHLD TERM
sleep infinity &
while :; do wait; done
"""


@dataclass(frozen=True)
class Machine:
    """Machine ``number`` of a cluster."""

    state: State
    number: int
    pki: Pki

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return self.state.addresses.node(self.number)

    @property
    def folder(self) -> Path:
        return self.state.folder / "nodes" / self.name

    @property
    def group(self) -> str:
        """Control group of the node's daemons and pods."""
        return f"{self.state.addresses.name}/{self.name}"

    @property
    def running(self) -> bool:
        return self.init.alive

    @property
    def init(self) -> Daemon:
        namespace = network.node_namespace(self.state.addresses, self.number)
        # unshare forks, so that its child is process 1.
        made = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--uts"]
        command = ["bash", "-c", _BOOT, _INIT, str(self.folder), self.name]
        return self._daemon(_INIT, lambda: command, lambda: [*network.inside(namespace), *made])

    @property
    def parts(self) -> dict[str, Daemon]:
        """Daemons of the node by name, to kill, stop and start."""
        commands = {CONTAINERD: self._containerd, KUBELET: self._kubelet, PROXY: self._proxy}
        return {name: self._daemon(name, command, self._inside) for name, command in commands.items()}

    def create(self) -> None:
        """Create its disk and its settings; its images are copied to `image_root`."""
        for name in ("kubelet", "cni", "pod-logs", "pid"):
            (self.folder / name).mkdir(parents=True)
        certificate = f"kubelet-{self.number}"
        self.pki.certificate(
            certificate, f"/O=system:nodes/CN=system:node:{self.name}", f"DNS:{self.name},IP:{self.address}"
        )
        self.pki.kubeconfig(certificate, self.state.endpoints.server)
        (self.folder / "net.d").mkdir()
        network_settings = settings.pod_network(self.state.addresses.pods(self.number))
        (self.folder / "net.d" / "10-pods.conflist").write_text(json.dumps(network_settings))
        (self.folder / "containerd.toml").write_text(settings.containerd(self.image_root, self.folder / "net.d"))
        dns = self.state.endpoints.address
        (self.folder / "resolv.conf").write_text(f"nameserver {dns}\n")
        agent = settings.kubelet(self.group, dns, self.pki.folder / certificate, self.pki.authority, self.state.options)
        agent["resolvConf"] = str(self.folder / "resolv.conf")
        (self.folder / "kubelet.yaml").write_text(json.dumps(agent, indent=1))

    @property
    def image_root(self) -> Path:
        """Folder in which its containerd stores images and containers."""
        return self.folder / CONTAINERD

    def power_on(self) -> None:
        """Start process 1 and containerd, which need no API server."""
        cgroups.create(f"{self.group}/daemons")
        cgroups.prefer(f"{self.group}/daemons", 16)
        network.create_node(self.state.addresses, self.number, self.state.nodes)
        booted = self.folder / "booted"
        booted.unlink(missing_ok=True)
        self.init.start()
        self.init.wait(booted.exists, 20)
        self.parts[CONTAINERD].start()

    def start_agents(self) -> None:
        """Start the kubelet and kube-proxy."""
        self.parts[KUBELET].start()
        self.parts[PROXY].start()

    def power_cut(self) -> None:
        """Kill everything on the node at once; its disk stays."""
        self.init.kill()
        network.remove_node(self.state.addresses, self.number)
        if cgroups.exists(self.group):
            cgroups.remove(self.group)

    def cut(self) -> None:
        """Disconnect the node from the network: its processes continue, unseen by the others."""
        network.cut(self.state.addresses, self.number)

    def heal(self) -> None:
        """Connect the node to the network again."""
        network.heal(self.state.addresses, self.number)

    def run(self, *command: str | Path, deadline_s: float = 120.0) -> str:
        """Run a command on the node as root, and return its output."""
        return run(*self._inside(), *command, deadline_s=deadline_s)

    def shell(self) -> list[str]:
        """Return the command that opens a shell on the node."""
        return [*self._inside(), "bash"]

    def ctr_words(self) -> list[str]:
        """Return the command prefix for the node's containerd, from this machine."""
        return [*self._inside(), "ctr"]

    def container_processes(self, container_id: str) -> list[Process]:
        """Return the processes of a container (``containerd://<id>`` or only the id), the main one first.

        Raises:
            ClusterError: There is no such container on this node.
        """
        group = cgroups.find(self.group, container_id.removeprefix("containerd://"))
        if group is None:
            raise ClusterError(f"{self.name} runs no container {container_id}")
        return cgroups.processes(group)

    def _inside(self) -> list[str]:
        init = self.init.process
        if init is None:
            raise ClusterError(f"{self.name} is off: boot it first")
        return ["nsenter", "--target", str(init.pid), "--mount", "--uts", "--net", "--pid", "--"]

    def _daemon(self, name: str, command: Callable[[], list[str]], enter: Callable[[], list[str]]) -> Daemon:
        group = f"{self.group}/daemons"
        return Daemon(
            name=f"{self.name}/{name}",
            command=command,
            log=self.state.folder / "log" / f"{self.name}-{name}.log",
            pid_file=self.folder / "pid" / name,
            cgroups=cgroups.joined_by(group),
            # A second fork inside: its child belongs to the node's process 1, not to nsenter.
            enter=enter if name == _INIT else lambda: [*enter(), "setsid", "--fork"],
            host_pid=lambda inner: _host_pid(group, inner),
        )

    def _containerd(self) -> list[str]:
        return ["containerd", "--config", str(self.folder / "containerd.toml")]

    def _kubelet(self) -> list[str]:
        config = self.pki.folder / f"kubelet-{self.number}.kubeconfig"
        return [
            *(
                *_NOTICE,
                str(binary(KUBE)),
                "kubelet",
                f"--config={self.folder / 'kubelet.yaml'}",
                f"--kubeconfig={config}",
            ),
            *(f"--hostname-override={self.name}", f"--node-ip={self.address}", "--v=2"),
        ]

    def _proxy(self) -> list[str]:
        return [
            *(*_NOTICE, str(binary(KUBE)), "proxy", f"--kubeconfig={self.pki.folder / 'proxy.kubeconfig'}"),
            *(f"--hostname-override={self.name}", f"--cluster-cidr={self.state.addresses.all_pods}"),
            *(
                "--proxy-mode=iptables",
                "--conntrack-max-per-core=0",
            ),  # the limit of the machine itself must not be changed
        ]

    def remove(self) -> None:
        """Remove the machine with its disk."""
        self.power_cut()
        if self.folder.exists():
            shutil.rmtree(self.folder)


def _host_pid(group: str, inner: int) -> int | None:
    """Translate the process id ``inner`` of the node with this group to the id on this machine."""
    for process in cgroups.processes(group):
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ids = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if int(ids[-1]) == inner:
            return process.pid
    return None
