"""Kubernetes cluster for tests: a control plane and any number of nodes, on this machine.

with Cluster(nodes=0) as cluster:            # API server and controllers only: five seconds, no root
    cluster.apply("…YAML…")
    cluster.wait_for(lambda: cluster.api.find("jobs", "x"), 10, "the Job x")

with Cluster(nodes=3, gpus=2, images=[archive]) as cluster:
    cluster.nodes[1].cut()
    cluster.nodes[1].wait_lost()
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster import cgroups, fake_nodes, images, network, sysctls
from cluster.api import Api, ApiError, ApiUnreachable
from cluster.binaries import cache, locked, missing_for_control_plane, missing_for_nodes
from cluster.client import Client
from cluster.controlplane import (
    API_SERVER,
    CONTROLLER_MANAGER,
    DNS,
    ETCD,
    FAKES,
    SCHEDULER,
    ControlPlane,
    Endpoints,
    Flags,
)
from cluster.errors import ClusterError
from cluster.fake_nodes import FakeNodes
from cluster.machine import Machine
from cluster.node import Node
from cluster.process import Daemon, kill_all
from cluster.state import MAX_NODES, Addresses, NodeOptions, State, known, this_process

_START_S = 120.0
_POLL_S = 0.1
_LOGS_KEPT = 10


class Cluster(Client):
    """Kubernetes cluster; as a context manager it is up inside and removed at the end, failed or not.

    The logs of its parts stay in the cache's ``logs/<name>``, for the last cluster of each name.
    """

    #: The network plugin does not support NetworkPolicy: tests check what is rendered, not what is enforced.
    enforces_network_policy = False

    def __init__(
        self,
        nodes: int = 0,
        *,
        name: str = "test",
        gpus: int = 0,
        node_memory_mib: int = 6144,
        images: Sequence[Path] = (),
        fakes: FakeNodes | None = None,
        flags: Flags | None = None,
        lasting: bool = False,
    ) -> None:
        """Reserve a name and networks; start nothing yet.

        Args:
            nodes: Their number; 0 gives an API server with controllers, on which pods stay Pending, and needs no root.
            name: Name of its folder. Clusters that killed processes left behind are removed first, under any name.
            gpus: Number of ``nvidia.com/gpu`` that each node offers; no device appears in a pod.
            node_memory_mib: Memory that each node offers to pods, in MiB.
            images: Archives of the images that pods may use besides `images.BUSYBOX_IMAGE`: tar files (OCI or
                Docker), or directories of OCI layouts.
            fakes: Further nodes on which pods are only reported as running.
            flags: Further flags for parts of the control plane.
            lasting: The cluster belongs to no process; the caller must call `down`.

        Raises:
            ClusterError: The machine cannot run it, or one of that name is up; the message says what to do.
        """
        if (reason := missing_for_nodes() if nodes else missing_for_control_plane()) is not None:
            raise ClusterError(reason)
        if nodes > MAX_NODES:
            raise ClusterError(f"a test cluster has at most {MAX_NODES} nodes of its own, not {nodes}")
        sweep()
        if State.load(name) is not None:
            raise ClusterError(f"a test cluster {name!r} is up already; take it down with `make cluster-down`")
        self._archives = images
        self._fakes = fakes
        self.state = State(
            name,
            nodes,
            _loopback(),
            options=NodeOptions(gpus, node_memory_mib),
            flags=flags or Flags(),
            owner=None if lasting else this_process(),
        )
        if nodes:
            addresses = network.reserve()
            self.state.index = addresses.index
            self.state.endpoints = _in_namespace(addresses)
        self.state.save()
        self._bind()

    def _bind(self) -> None:
        state = self.state
        enter: Callable[[], list[str]] = list
        groups: tuple[Path, ...] = ()
        if state.nodes:
            name = state.addresses.name
            enter, groups = (lambda: network.inside(name)), cgroups.joined_by(f"{name}/control-plane")
        self.control_plane = ControlPlane(state.folder, state.endpoints, state.flags, enter, groups)
        pki = self.control_plane.pki
        certificate = (str(pki.folder / "admin.crt"), str(pki.folder / "admin.key"))
        super().__init__(pki.folder / "admin.kubeconfig", Api(state.endpoints.server, str(pki.authority), certificate))
        self.nodes = [Node(state, Machine(state, number, pki), self) for number in range(state.nodes)]

    @classmethod
    def attach(cls, name: str = "test") -> Self:
        """Find the cluster of this name that is up, or partly up, from any process.

        Raises:
            ClusterError: No such cluster is up.
        """
        state = State.load(name)
        if state is None:
            raise ClusterError(f"there is no test cluster {name!r}: `make cluster` starts one")
        cluster = cls.__new__(cls)
        cluster.state = state
        cluster._archives, cluster._fakes = (), None
        cluster._bind()
        return cluster

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.down)
            self.up()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def parts(self) -> dict[str, Daemon]:
        """Processes of the control plane by name (``controlplane.API_SERVER`` …), to kill, stop and start."""
        return self.control_plane.parts

    @property
    def logs(self) -> Path:
        """Folder with a log of each part."""
        return self.state.folder / "log"

    def up(self) -> None:
        """Start everything; return when pods can be created and, if there are nodes, run.

        Raises:
            ClusterError: A part did not start; the message names it and shows the end of its log.
        """
        self.control_plane.create()
        if self.state.nodes:
            self._make_machines()
        self.parts[ETCD].start()
        self.parts[API_SERVER].start()
        for node in self.nodes:
            node.machine.power_on()
        self.wait_api()
        self.parts[CONTROLLER_MANAGER].start()
        if self.state.nodes or self._fakes:
            self.parts[SCHEDULER].start()
        if self._fakes:
            (self.state.folder / "stages.yaml").write_text(fake_nodes.stages(self._fakes))
            self.parts[FAKES].start()
            fake_nodes.create(self, self._fakes)
        if self.state.nodes:
            self.parts[DNS].start()
            for node in self.nodes:
                node.machine.start_agents()
            for node in self.nodes:
                node.wait_registered()
                node.wait_ready()
        self.parts[CONTROLLER_MANAGER].wait(self._has_service_accounts, _START_S, _POLL_S)

    def _make_machines(self) -> None:
        sysctls.note()
        network.create(self.state.addresses)
        group = self.state.addresses.name
        cgroups.create(f"{group}/control-plane")
        cgroups.prefer(group, 4)
        cgroups.prefer(f"{group}/control-plane", 16)
        for node in self.nodes:
            node.machine.create()
        archives = [images.pause_image(), images.busybox_image(), *self._archives]
        images.give(archives, [node.machine.image_root for node in self.nodes])

    def wait_api(self, deadline_s: float = _START_S) -> None:
        """Wait until the API server is ready, after a start or a fault."""
        self.parts[API_SERVER].wait(self._api_ready, deadline_s, _POLL_S)

    @contextmanager
    def api_server_away(self) -> Iterator[None]:
        """Kill the API server for the duration of the block, as by a lost machine; wait until it is ready again."""
        self.parts[API_SERVER].kill()
        yield
        self.parts[API_SERVER].start()
        self.wait_api()

    def node(self, name: str) -> Node:
        """Return the node of this name, as in a pod's ``spec.nodeName``."""
        return next(node for node in self.nodes if node.name == name)

    def add_image(self, archive: Path) -> None:
        """Import one more image into every node of the running cluster (gigabytes take minutes per node)."""
        for node in self.nodes:
            images.load(node.machine.ctr_words(), archive)

    def down(self) -> None:
        """Remove everything: processes, namespaces, control groups, files. Logs stay in the cache."""
        with locked("down"):
            if self.state.folder.exists():
                self._down()

    def _down(self) -> None:
        for daemon in self.parts.values():
            daemon.kill()
        if self.state.nodes:
            self._remove_machines()
        if self.logs.exists():
            _keep_logs(self.logs, self.state.name)
        shutil.rmtree(self.state.folder)
        if not any(state.nodes for state in known()):
            sysctls.restore()

    def _remove_machines(self) -> None:
        group = self.state.addresses.name
        for node in self.nodes:
            node.machine.power_cut()
        if cgroups.exists(group):
            kill_all(cgroups.processes(group))
            cgroups.remove(group)
        network.remove(self.state.addresses, self.state.nodes)

    def _has_service_accounts(self) -> bool:
        return self.api.find("serviceaccounts", "default") is not None

    def _api_ready(self) -> bool:
        try:
            return bool(self.api.request("GET", "/readyz", deadline_s=5) == "ok")
        except (ApiUnreachable, ApiError):
            return False


def _keep_logs(logs: Path, name: str) -> None:
    kept = cache() / "logs" / name
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    logs.replace(kept)
    kept.touch()
    for old in sorted(kept.parent.iterdir(), key=lambda path: -path.stat().st_mtime)[_LOGS_KEPT:]:
        shutil.rmtree(old)


def sweep() -> None:
    """Remove clusters that killed processes left behind."""
    for state in known():
        if state.abandoned:
            print(f"cluster: taking down {state.name!r}, whose process is gone", file=sys.stderr)
            Cluster.attach(state.name).down()


def _in_namespace(addresses: Addresses) -> Endpoints:
    """Place a control plane with nodes in a network namespace of its own, where every port is free."""
    services = addresses.services
    return Endpoints(addresses.control_plane, 6443, 2379, 2380, str(services), str(services[1]), pod_reachable=True)


def _loopback() -> Endpoints:
    """Place a control plane without nodes on this machine's loopback, at free ports."""
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        api, client, peer = (one.getsockname()[1] for one in sockets)
    return Endpoints("127.0.0.1", api, client, peer, "10.96.0.0/16", "10.96.0.1", pod_reachable=False)
