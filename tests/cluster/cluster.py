"""A Kubernetes cluster for tests: a control plane, and as many nodes as asked for, on this machine.

with Cluster(nodes=0) as cluster:            # API server and controllers alone: five seconds, no root
    cluster.apply("…YAML…")
    cluster.wait_for(lambda: cluster.api.find("jobs", "x"), 10, "the Job x")
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.api import Api, ApiError, ApiUnreachable
from cluster.binaries import cache, missing_for_control_plane
from cluster.client import Client
from cluster.controlplane import API_SERVER, CONTROLLER_MANAGER, ETCD, ControlPlane, Endpoints, Flags
from cluster.errors import ClusterError
from cluster.process import Daemon, until
from cluster.state import State, known, this_process

_START_S = 60.0


class Cluster(Client):
    """A cluster that is up; as a context manager it is taken down at the end, failed or not.

    What its parts said stays in ``logs`` of the cache after that, for the last cluster of each name.
    """

    enforces_network_policy = False

    def __init__(
        self, nodes: int = 0, *, name: str = "test", flags: Flags | None = None, lasting: bool = False
    ) -> None:
        """Nothing is started yet.

        Args:
            nodes: How many; 0 gives an API server with controllers, on which pods stay Pending.
            name: Of its folder; a cluster of that name that a killed process left is taken down first.
            flags: More flags for parts of the control plane.
            lasting: It belongs to no process: `down` is the caller's to do.
        """
        sweep()
        if State.load(name) is not None:
            raise ClusterError(f"a test cluster {name!r} is up already; take it down with `make cluster-down`")
        self.state = State(name, nodes, _loopback(), flags=flags or Flags(), owner=None if lasting else this_process())
        self._bind()

    def _bind(self) -> None:
        self.control_plane = ControlPlane(self.state.folder, self.state.endpoints, self.state.flags)
        pki = self.control_plane.pki
        certificate = (str(pki.folder / "admin.crt"), str(pki.folder / "admin.key"))
        api = Api(self.state.endpoints.server, str(pki.authority), certificate)
        super().__init__(pki.folder / "admin.kubeconfig", api)

    @classmethod
    def attach(cls, name: str = "test") -> Self:
        """The cluster of that name that is up, or half up, from any process.

        Raises:
            ClusterError: There is none.
        """
        state = State.load(name)
        if state is None:
            raise ClusterError(f"there is no test cluster {name!r}: `make cluster` starts one")
        cluster = cls.__new__(cls)
        cluster.state = state
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
        """The control plane's processes by name (``controlplane.API_SERVER`` …), to kill, stop and start."""
        return self.control_plane.parts

    @property
    def logs(self) -> Path:
        """The folder with a log of each part."""
        return self.state.folder / "log"

    def up(self) -> None:
        """Start everything; returns when pods can be made.

        Raises:
            ClusterError: The machine cannot, or a part did not come up; says which and the end of its log.
        """
        if (reason := missing_for_control_plane()) is not None:
            raise ClusterError(reason)
        self.state.save()
        self.control_plane.create()
        self.parts[ETCD].start()
        self.parts[API_SERVER].start()
        self.wait_api()
        self.parts[CONTROLLER_MANAGER].start()
        self._wait_part(CONTROLLER_MANAGER, lambda: self.api.find("serviceaccounts", "default") is not None)

    def wait_api(self, deadline_s: float = _START_S) -> None:
        """Wait until the API server is ready, after a start or a fault."""
        self._wait_part(API_SERVER, self._api_ready, deadline_s)

    def down(self) -> None:
        """Take everything away: processes, files. Logs are kept in the cache."""
        for daemon in self.parts.values():
            daemon.kill()
        kept = cache() / "logs" / self.state.name
        shutil.rmtree(kept, ignore_errors=True)
        if self.logs.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            self.logs.replace(kept)
        shutil.rmtree(self.state.folder)

    def _wait_part(self, name: str, condition: Callable[[], bool], deadline_s: float = _START_S) -> None:
        daemon = self.parts[name]
        until(
            lambda: condition() or not daemon.alive,
            deadline_s,
            lambda: f"{name} to be ready; {daemon.tail()}",
            step_s=0.1,
        )
        if not daemon.alive:
            raise ClusterError(f"{name} ended while it was waited for; {daemon.tail()}")

    def _api_ready(self) -> bool:
        try:
            return bool(self.api.request("GET", "/readyz", deadline_s=5) == "ok")
        except (ApiUnreachable, ApiError):
            return False


def sweep() -> None:
    """Take down what killed processes left."""
    for state in known():
        if state.abandoned:
            print(f"cluster: taking down {state.name!r}, whose process is gone", file=sys.stderr)
            Cluster.attach(state.name).down()


def _loopback() -> Endpoints:
    """A control plane alone: on this machine's loopback, at ports that are free now."""
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        api, client, peer = (one.getsockname()[1] for one in sockets)
    return Endpoints("127.0.0.1", api, client, peer, "10.96.0.0/16", "10.96.0.1", pod_reachable=False)
