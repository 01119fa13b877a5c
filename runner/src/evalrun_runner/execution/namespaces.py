"""Namespaces: a user, root, process tree and network of a sandbox's own, made without privileges.

Where this process is root, the users inside are mapped apart: the sandbox's own root stays root outside, and programs
are ``nobody`` outside, so that limits on processes hold for them and root's files are not theirs.
"""

from __future__ import annotations

import contextlib
import os

from evalrun_runner.execution import kernel
from evalrun_runner.execution.surroundings import DEVICES, WORK, readable_paths

PROGRAM_ID = 1000
"""User and group of programs inside, where this process is root."""
_NOBODY = 65534
_ALL = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


def enter_namespaces() -> None:
    """Move this process into namespaces of its own; the next child is the first process of the new tree.

    Raises:
        OSError: The kernel, or whoever confines this process, refuses one.
    """
    if os.geteuid() == 0:
        _enter_as_root()
        return
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(_ALL)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _enter_as_root() -> None:
    """Map two users. Only a process outside may write such a map: a child that stays there."""
    pid = os.getpid()
    ready_in, ready_out = os.pipe()
    writer = os.fork()
    if writer == 0:
        failed = 1
        with contextlib.suppress(BaseException):
            os.close(ready_out)
            if os.read(ready_in, 1):
                for name in ("uid_map", "gid_map"):
                    _write(f"/proc/{pid}/{name}", f"0 0 1\n{PROGRAM_ID} {_NOBODY} 1")
                failed = 0
        os._exit(failed)
    os.close(ready_in)
    try:
        kernel.unshare(_ALL)
        os.write(ready_out, b"1")
    finally:
        os.close(ready_out)
        _, status = os.waitpid(writer, 0)
    if status:
        raise PermissionError("the users of a new user namespace cannot be mapped")


def enter_root() -> None:
    """Make a root that holds only what programs may see, all of it read-only, and move there.

    Raises:
        OSError: A mount is refused.
    """
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    # A folder that every machine has and no program needs; outside of this namespace it stays what it is.
    root = "/proc"
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=0755")
    for path in readable_paths():
        _bind(path, root, kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV)
    for device in DEVICES:
        _bind(device, root, kernel.MOUNT_ATTR_NOSUID)
    os.mkdir(root + WORK)
    kernel.set_mount_attributes(root, kernel.MOUNT_ATTR_RDONLY)
    kernel.pivot_root(root)


def mount_work(size_bytes: int, files: int, owner: int) -> None:
    """Give this process a working folder in memory that no other one sees, and that goes with it."""
    kernel.unshare(kernel.CLONE_NEWNS)
    options = f"size={size_bytes},nr_inodes={files + 1},mode=0700,uid={owner},gid={owner}"
    kernel.mount("tmpfs", WORK, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, options)


def _bind(path: str, root: str, attributes: int) -> None:
    source, target = os.path.realpath(path), root + path
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    if os.path.isdir(source):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.set_mount_attributes(target, attributes)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
