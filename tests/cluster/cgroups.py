"""Control groups of a cluster: one tree, in which every process can be found and nodes do not see each other.

Version 1 has a tree per controller, version 2 has one for all. The code was tested on version 1 only; the code for
version 2 follows its documentation.
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
    """Return the roots in which groups are created."""
    if _unified():
        return [_ROOT]
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    trees = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup"]
    if not trees:
        raise ClusterError("this machine mounts no control groups below /sys/fs/cgroup, which nodes need")
    return trees


def create(group: str) -> None:
    """Create the group ``a/b/c`` in every tree, with the settings that its children need."""
    for tree in _trees():
        place = tree
        for name in group.split("/"):
            if _unified():
                controllers = (place / "cgroup.controllers").read_text().split()
                (place / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in controllers))
            place = place / name
            place.mkdir(exist_ok=True)
            # In version 1 no process can join a group without processors and memory.
            for inherited in ("cpuset.cpus", "cpuset.mems"):
                if not _unified() and (place / inherited).exists() and not (place / inherited).read_text().strip():
                    (place / inherited).write_text((place.parent / inherited).read_text())


def prefer(group: str, times: int) -> None:
    """Give the group this multiple of its neighbours' processor time under contention.

    Otherwise a kubelet waits behind its pods, and its node is considered lost.
    """
    for tree in _trees():
        for name, usual in (("cpu.shares", 1024), ("cpu.weight", 100)):
            if (tree / group / name).exists():
                (tree / group / name).write_text(str(usual * times))


def joined_by(group: str) -> tuple[Path, ...]:
    """Return the files to which a process writes its id to join the group."""
    return tuple(tree / group / "cgroup.procs" for tree in _trees())


def pids(group: str) -> Iterator[int]:
    """Return the processes in the group and below it, by their ids on this machine."""
    for file in (_trees()[0] / group).rglob("cgroup.procs"):
        try:
            yield from map(int, file.read_text().split())
        except OSError:  # the group was removed between listing and reading
            continue


def processes(group: str) -> list[Process]:
    """Return the same processes with their start times, so that a recycled id is no match."""
    found = (Process.of(pid) for pid in pids(group))
    return [process for process in found if process is not None]


def find(group: str, name_holds: str) -> str | None:
    """Find the group below ``group`` whose name contains a text, such as a container's id."""
    tree = _trees()[0]
    for place in (tree / group).rglob(f"*{name_holds}*"):
        if place.is_dir():
            return str(place.relative_to(tree))
    return None


def exists(group: str) -> bool:
    return any((tree / group).exists() for tree in _trees())


def remove(group: str) -> None:
    """Remove the group and all below it; its processes must have been killed.

    Raises:
        ClusterError: A process did not end.
    """
    # On version 1 a runtime also creates groups in the empty version 2 tree.
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
    except OSError:  # processes take a moment to end
        return False
    return True
