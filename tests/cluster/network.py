"""Networks of a cluster: an outer namespace with a bridge, a namespace for each node, one link to this machine.

This machine gets only one interface, ``evalrun<index>``, and one route through it; removing the interface removes
the route. Tables, forwarding and connections of the machine do not change.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from cluster.errors import ClusterError
from cluster.process import run
from cluster.state import INDEXES, Addresses, known

_NAMESPACES = Path("/run/netns")
_BRIDGE = "nodes"


def inside(namespace: str) -> list[str]:
    """Return the command prefix that enters a network namespace.

    Not ``ip netns exec``, which mounts another /sys and hides the cgroups.
    """
    return ["nsenter", f"--net={_NAMESPACES / namespace}", "--"]


def node_namespace(addresses: Addresses, number: int) -> str:
    return f"{addresses.name}-node-{number}"


def reserve() -> Addresses:
    """Reserve the first number that no cluster has, by creating its outer namespace.

    Raises:
        ClusterError: All are taken, or this process may not create namespaces.
    """
    taken = {state.index for state in known()}
    reason: ClusterError | None = None
    for index in range(INDEXES):
        addresses = Addresses(index)
        if index in taken or (_NAMESPACES / addresses.name).exists() or _has_link(addresses):
            continue
        try:
            run("ip", "netns", "add", addresses.name)
        except ClusterError as error:  # another process was first, or this one has no permission
            reason = error
            continue
        return addresses
    raise ClusterError(f"there is no network left for another test cluster: {reason or 'all are in use'}")


def create(addresses: Addresses) -> None:
    """Connect the reserved outer namespace with this machine, and add the bridge to which nodes attach."""
    name, link = addresses.name, addresses.link
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "machine", "netns", name)
    run("ip", "addr", "add", f"{link[1]}/{link.prefixlen}", "dev", name)
    run("ip", "link", "set", name, "up")
    _ip(name, "link", "set", "lo", "up")
    _ip(name, "addr", "add", f"{link[2]}/{link.prefixlen}", "dev", "machine")
    _ip(name, "link", "set", "machine", "up")
    _ip(name, "link", "add", _BRIDGE, "address", _hardware(0), "type", "bridge")
    _ip(name, "addr", "add", f"{addresses.control_plane}/{addresses.fabric.prefixlen}", "dev", _BRIDGE)
    _ip(name, "link", "set", _BRIDGE, "up")
    _sysctl(name, "net.ipv4.ip_forward", "1")
    # Services are reached through node 0: its kube-proxy serves all clients that are not on a node.
    _ip(name, "route", "add", str(addresses.services), "via", addresses.node(0))
    run("ip", "route", "add", str(addresses.network), "via", str(link[2]), "dev", name)


def create_node(addresses: Addresses, number: int, nodes: int) -> None:
    """Create the namespace of one node, attached to the bridge, with routes to the pods of all others."""
    outer, inner = addresses.name, node_namespace(addresses, number)
    run("ip", "netns", "add", inner)
    inner_end = ("name", "eth0", "address", _hardware(1 + number), "netns", inner)
    _ip(outer, "link", "add", f"node-{number}", "type", "veth", "peer", *inner_end)
    _ip(outer, "link", "set", f"node-{number}", "master", _BRIDGE, "up")
    _ip(outer, "route", "replace", str(addresses.pods(number)), "via", addresses.node(number))
    _ip(inner, "link", "set", "lo", "up")
    _ip(inner, "addr", "add", f"{addresses.node(number)}/{addresses.fabric.prefixlen}", "dev", "eth0")
    _ip(inner, "link", "set", "eth0", "up")
    _ip(inner, "route", "add", "default", "via", addresses.control_plane)
    _sysctl(inner, "net.ipv4.ip_forward", "1")
    for other in range(nodes):
        if other != number:
            _ip(inner, "route", "add", str(addresses.pods(other)), "via", addresses.node(other))


def cut(addresses: Addresses, number: int) -> None:
    """Disconnect the node at the bridge: setting the node's own end down would lose its routes."""
    _ip(addresses.name, "link", "set", f"node-{number}", "down")


def heal(addresses: Addresses, number: int) -> None:
    """Connect the node again."""
    _ip(addresses.name, "link", "set", f"node-{number}", "up")


def remove_node(addresses: Addresses, number: int) -> None:
    """Remove a node's namespace with its end of the link; do nothing if there is none."""
    _remove_namespace(node_namespace(addresses, number))


def remove(addresses: Addresses, nodes: int) -> None:
    """Remove everything that exists."""
    for number in range(nodes):
        remove_node(addresses, number)
    if _has_link(addresses):
        run("ip", "link", "del", addresses.name)
    _remove_namespace(addresses.name)
    # Not Path.is_mount: "ip netns add" binds the folder to itself, which has one device inside and out.
    mounted = f" {_NAMESPACES} " in Path("/proc/self/mounts").read_text()
    if mounted and not any(_NAMESPACES.iterdir()):
        run("umount", _NAMESPACES)
        with contextlib.suppress(OSError):
            _NAMESPACES.rmdir()


def _remove_namespace(name: str) -> None:
    if (_NAMESPACES / name).exists():
        run("ip", "netns", "del", name)


def _hardware(number: int) -> str:
    """Return a constant hardware address.

    By default a bridge changes its address when a node joins or leaves, and a node changes it at boot; the others would
    continue to send to the old address for half a minute.
    """
    return f"02:00:00:00:00:{number:02x}"


def _has_link(addresses: Addresses) -> bool:
    return Path(f"/sys/class/net/{addresses.name}").exists()


def _ip(namespace: str, *words: str) -> None:
    run("ip", "-n", namespace, *words)


def _sysctl(namespace: str, name: str, value: str) -> None:
    run(*inside(namespace), "sysctl", "-qw", f"{name}={value}")
