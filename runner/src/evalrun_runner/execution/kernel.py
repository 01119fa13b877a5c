"""System calls that Python lacks, by number and structure. Linux on x86-64 only, as ``SUPPORTED`` says."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

SUPPORTED = sys.platform == "linux" and platform.machine() == "x86_64"
"""Whether the numbers below are those of this machine."""

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100

_NR_CAPSET = 126
_NR_PIVOT_ROOT = 155
_NR_SECCOMP = 317
_NR_MOUNT_SETATTR = 442
_NR_LANDLOCK = {"create": 444, "add": 445, "restrict": 446}

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x2008_0522
_SECCOMP_SET_MODE_FILTER = 1
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _SocketFilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Move this process into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, or bind a path."""
    name = None if kind is None else kind.encode()
    result = _libc.mount(source.encode(), target.encode(), name, ctypes.c_ulong(flags), options.encode())
    _checked(result, f"mount {target}")


def set_mount_attributes(target: str, attributes: int) -> None:
    """Set attributes of a mount and of all mounts below it; none is cleared."""
    wanted = _MountAttributes(attr_set=attributes)
    path = target.encode()
    result = _libc.syscall(
        _NR_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted))
    )
    _checked(result, f"mount_setattr {target}")


def pivot_root(folder: str) -> None:
    """Make a folder, a mount point, the root of this process, and leave the old root behind."""
    os.chdir(folder)
    _checked(_libc.syscall(_NR_PIVOT_ROOT, b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def set_death_signal(signal: int) -> None:
    """Let the kernel send a signal to this process when its parent ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def drop_privileges() -> None:
    """Give up every capability, and the ability to gain any."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS")
    _checked(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl PR_CAP_AMBIENT")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked(_libc.syscall(_NR_CAPSET, ctypes.byref(header), ctypes.byref(nothing)), "capset")


def set_filter(program: bytes) -> None:
    """Install a seccomp filter, for all threads of this process and for good."""
    buffer = ctypes.create_string_buffer(program, len(program))
    described = _SocketFilterProgram(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    _checked(_libc.syscall(_NR_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(described)), "seccomp")


def landlock_version() -> int:
    """Return the version of Landlock, 0 where the kernel has none."""
    found = _libc.syscall(_NR_LANDLOCK["create"], None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION)
    return max(int(found), 0)


def landlock_ruleset(file_rights: int, network_rights: int, scopes: int, version: int) -> int:
    """Make a ruleset that refuses these rights, and return its descriptor."""
    attributes = _RulesetAttributes(file_rights, network_rights, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    result = _libc.syscall(_NR_LANDLOCK["create"], ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    return _checked(int(result), "landlock_create_ruleset")


def landlock_allow(ruleset: int, path: str, rights: int) -> None:
    """Allow rights below a path."""
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(rights, folder)
        result = _libc.syscall(_NR_LANDLOCK["add"], ruleset, _LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        _checked(int(result), f"landlock_add_rule {path}")
    finally:
        os.close(folder)


def landlock_restrict(ruleset: int) -> None:
    """Hold this process to a ruleset, for good."""
    _checked(int(_libc.syscall(_NR_LANDLOCK["restrict"], ruleset, 0)), "landlock_restrict_self")
