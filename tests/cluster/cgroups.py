"""Control groups of a cluster: one tree, so that everything in it can be found, and nodes that do not see each other.

Version 1 has a tree per controller and version 2 one for all; the machines of the project have version 1, version 2 is
written from its documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cluster.errors import ClusterError
from cluster.process import Process, until

_ROOT = Path("/sys/fs/cgroup")
_REMOVE_S = 10.0


def _unified() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _trees() -> list[Path]:
    """The roots in which groups are made."""
    if _unified():
        return [_ROOT]
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    trees = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup"]
    if not trees:
        raise ClusterError("this machine mounts no control groups below /sys/fs/cgroup, which nodes need")
    return trees


def create(group: str) -> None:
    """Make the group ``a/b/c`` in every tree, with what its children need."""
    for tree in _trees():
        place = tree
        for name in group.split("/"):
            if _unified():
                controllers = (place / "cgroup.controllers").read_text().split()
                (place / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in controllers))
            place = place / name
            place.mkdir(exist_ok=True)
            # In version 1 nothing can join a group of no processors and no memory.
            for inherited in ("cpuset.cpus", "cpuset.mems"):
                if not _unified() and (place / inherited).exists() and not (place / inherited).read_text().strip():
                    (place / inherited).write_text((place.parent / inherited).read_text())


def prefer(group: str, times: int) -> None:
    """Give the group so many times the processor time of its neighbours when all want it.

    A kubelet that waits behind its pods is taken for a lost node.
    """
    for tree in _trees():
        for name, usual in (("cpu.shares", 1024), ("cpu.weight", 100)):
            if (tree / group / name).exists():
                (tree / group / name).write_text(str(usual * times))


def joined_by(group: str) -> tuple[Path, ...]:
    """The files a process writes itself into to join."""
    return tuple(tree / group / "cgroup.procs" for tree in _trees())


def pids(group: str) -> Iterator[int]:
    """The processes in the group and all below it, by their ids out here."""
    for file in (_trees()[0] / group).rglob("cgroup.procs"):
        try:
            yield from map(int, file.read_text().split())
        except OSError:  # the group went away between listing and reading
            continue


def processes(group: str) -> list[Process]:
    """The same as processes that cannot be mistaken."""
    found = (Process.of(pid) for pid in pids(group))
    return [process for process in found if process is not None]


def find(group: str, name_holds: str) -> str | None:
    """The group below ``group`` whose name holds a text, as a container's id."""
    tree = _trees()[0]
    for place in (tree / group).rglob(f"*{name_holds}*"):
        if place.is_dir():
            return str(place.relative_to(tree))
    return None


def exists(group: str) -> bool:
    return any((tree / group).exists() for tree in _trees())


def remove(group: str) -> None:
    """Take the group and all below it away; its processes must have been killed.

    Raises:
        ClusterError: A process would not go.
    """
    # A runtime on version 1 makes groups in the empty version 2 tree beside it too.
    trees = [*_trees(), _ROOT / "unified"]

    def gone() -> bool:
        return all([_removed(tree / group) for tree in trees])

    until(gone, _REMOVE_S, lambda: f"the control group {group} to be empty; it holds {list(pids(group))}")


def _removed(place: Path) -> bool:
    if not place.exists():
        return True
    folders = sorted((path for path in place.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    try:
        for folder in [*folders, place]:
            folder.rmdir()
    except OSError:  # processes take a moment to leave
        return False
    return True
