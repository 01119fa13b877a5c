"""State of a cluster on disk, by which any process can find it and remove it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from ipaddress import IPv4Network
from pathlib import Path

from cluster.binaries import cache
from cluster.controlplane import Endpoints, Flags
from cluster.process import Process

# The range for network benchmarks (RFC 2544): no real network uses it. Every cluster gets a 32nd of it, so that
# several clusters can coexist and this machine can reach the pods and services of all.
_RANGE = IPv4Network("198.18.0.0/15")
_CLUSTER_PREFIX = 20
INDEXES = 2 ** (_CLUSTER_PREFIX - _RANGE.prefixlen)
MAX_NODES = 8


@dataclass(frozen=True)
class Addresses:
    """Networks of cluster number ``index``, and its names on this machine (interfaces have at most 15 letters)."""

    index: int

    @property
    def network(self) -> IPv4Network:
        """Range of the whole cluster, which this machine routes into it."""
        return list(_RANGE.subnets(new_prefix=_CLUSTER_PREFIX))[self.index]

    def _part(self, number: int) -> IPv4Network:
        return list(self.network.subnets(new_prefix=24))[number]

    @property
    def fabric(self) -> IPv4Network:
        """Control plane (.1) and nodes (.10 and up)."""
        return self._part(0)

    @property
    def control_plane(self) -> str:
        return str(self.fabric[1])

    @property
    def link(self) -> IPv4Network:
        """Link between this machine (.1) and the cluster (.2)."""
        return self._part(1)

    @property
    def machine(self) -> str:
        """Address of this machine, as the cluster sees it."""
        return str(self.link[1])

    @property
    def services(self) -> IPv4Network:
        """ClusterIPs: 1,024, which is more than a test needs."""
        return list(self.network.subnets(new_prefix=22))[1]

    def node(self, number: int) -> str:
        return str(self.fabric[10 + number])

    def pods(self, number: int) -> IPv4Network:
        """Return the range of the pods of one node."""
        return self._part(8 + number)

    @property
    def all_pods(self) -> IPv4Network:
        return list(self.network.subnets(new_prefix=21))[1]

    @property
    def name(self) -> str:
        """Name of the cluster's network namespace, of its cgroup and of this machine's end of the link."""
        return f"evalrun{self.index}"


@dataclass(frozen=True)
class NodeOptions:
    """Settings that all nodes of a cluster share.

    ``gpus`` is the number of ``nvidia.com/gpu`` that each node offers (no device appears in a pod); ``memory_mib`` is
    the memory that it offers to pods, in MiB. ``lease_s`` is the duration of a kubelet's lease, in seconds.
    """

    gpus: int = 0
    memory_mib: int = 6144
    lease_s: int = 8


@dataclass
class State:
    """Facts about one cluster; ``index`` is None for a control plane without nodes, which uses loopback."""

    name: str
    nodes: int
    endpoints: Endpoints
    index: int | None = None
    options: NodeOptions = field(default_factory=NodeOptions)
    flags: Flags = field(default_factory=Flags)
    owner: tuple[int, int] | None = None

    @property
    def folder(self) -> Path:
        return folder_of(self.name)

    @property
    def addresses(self) -> Addresses:
        assert self.index is not None, "a control plane alone has no networks"
        return Addresses(self.index)

    @property
    def abandoned(self) -> bool:
        """Whether the process that owned it has ended, such as a test that was killed."""
        return self.owner is not None and not Process(*self.owner).alive

    def save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / "cluster.json.new"
        new.write_text(json.dumps(asdict(self), indent=1))
        new.replace(self.folder / "cluster.json")

    @classmethod
    def load(cls, name: str) -> State | None:
        """Read the cluster of this name; None if there is none."""
        try:
            raw = json.loads((folder_of(name) / "cluster.json").read_text())
        except FileNotFoundError:
            return None
        raw = {key: raw[key] for key in raw if key in {one.name for one in fields(cls)}}  # written by another version
        flags = Flags(**{part: tuple(words) for part, words in raw.pop("flags").items()})
        owner = raw.pop("owner")
        return cls(
            **{**raw, "endpoints": Endpoints(**raw["endpoints"]), "options": NodeOptions(**raw["options"])},
            flags=flags,
            owner=None if owner is None else (owner[0], owner[1]),
        )


def runs() -> Path:
    """Return the folder of all clusters that are up."""
    return cache() / "run"


def folder_of(name: str) -> Path:
    return runs() / name


def known() -> list[State]:
    """Return every cluster that is up, or partly up."""
    states = [State.load(path.name) for path in sorted(runs().glob("*"))]
    return [state for state in states if state is not None]


def this_process() -> tuple[int, int]:
    """Return the owner of what this process starts."""
    process = Process.of(os.getpid())
    assert process is not None
    return process.pid, process.started
