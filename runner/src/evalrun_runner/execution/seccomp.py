"""Build the seccomp filter of a program's process: system calls that are not listed here fail with EPERM.

A program may compute, and read and write what its file system allows. It may not make processes, execute files, open
sockets, signal others, share memory, change who it is or what it sees, or keep anything after its end. The filter is
the same everywhere, so that a verdict does not depend on what else the machine can isolate.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_ALLOWED = {
    "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23, "sched_yield": 24,
    "mremap": 25, "msync": 26, "mincore": 27, "madvise": 28, "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35,
    "getitimer": 36, "alarm": 37, "setitimer": 38, "getpid": 39, "sendto": 44, "recvfrom": 45, "shutdown": 48,
    "exit": 60, "wait4": 61, "uname": 63, "flock": 73, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "getdents": 78,
    "getcwd": 79, "chdir": 80, "fchdir": 81, "creat": 85, "readlink": 89, "umask": 95, "gettimeofday": 96,
    "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107,
    "getegid": 108, "getppid": 110, "getpgrp": 111, "getgroups": 115, "getresuid": 118, "getresgid": 120,
    "getpgid": 121, "getsid": 124, "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130,
    "sigaltstack": 131, "statfs": 137, "fstatfs": 138, "getpriority": 140, "arch_prctl": 158, "gettid": 186,
    "time": 201, "futex": 202, "sched_getaffinity": 204, "epoll_create": 213, "getdents64": 217,
    "set_tid_address": 218, "restart_syscall": 219, "fadvise64": 221, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "exit_group": 231, "epoll_wait": 232, "epoll_ctl": 233, "newfstatat": 262,
    "readlinkat": 267, "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "epoll_pwait": 281,
    "eventfd2": 290, "epoll_create1": 291, "dup3": 292, "pipe2": 293, "preadv": 295, "pwritev": 296, "getcpu": 309,
    "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334, "close_range": 436, "faccessat2": 439,
}  # fmt: skip
"""System calls that are harmless with any argument, by their numbers on x86-64."""

_AUDIT_ARCH_X86_64 = 0xC000_003E
_X32_BIT = 0x4000_0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF_0000, 0x8000_0000
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_CLONE_THREAD = 0x0001_0000
_O_TMPFILE = 0x0040_0000
_AF_UNIX = 1


def _error(number: int) -> int:
    return 0x0005_0000 | number


class _Test(Enum):
    ONE_OF = "one of"
    """The argument's low half, an int, is one of the values."""
    HAS = "has"
    """A bit is set."""
    LACKS = "lacks"
    """A bit is not set."""
    NULL = "null"
    """The argument, a pointer, is null."""


@dataclass(frozen=True, slots=True)
class _Condition:
    """System call that is allowed if one of its arguments fits."""

    number: int
    argument: int
    test: _Test
    values: tuple[int, ...] = ()


def _conditions(pid: int) -> tuple[_Condition, ...]:
    return (
        # Threads, not processes. What a new namespace needs is refused with them.
        _Condition(56, 0, _Test.HAS, (_CLONE_THREAD,)),
        # Signals to itself, such as abort(); its process is the only one that it may know.
        _Condition(62, 0, _Test.ONE_OF, (pid,)),
        _Condition(234, 0, _Test.ONE_OF, (pid,)),
        # asyncio's own wake-up. There is no socket() to reach anybody else.
        _Condition(53, 0, _Test.ONE_OF, (_AF_UNIX,)),
        # open and openat, but for files without a name: those would not be counted.
        _Condition(2, 1, _Test.LACKS, (_O_TMPFILE,)),
        _Condition(257, 2, _Test.LACKS, (_O_TMPFILE,)),
        # isatty, window size, readable bytes, close-on-exec, non-blocking.
        _Condition(16, 1, _Test.ONE_OF, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
        # Descriptors, flags and locks; not F_SETOWN and F_SETSIG, which send signals to other processes.
        _Condition(72, 1, _Test.ONE_OF, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)),
        # PR_SET_NAME and PR_GET_NAME; above all not PR_SET_PDEATHSIG, by which it ends with its parent.
        _Condition(157, 0, _Test.ONE_OF, (15, 16)),
        # prlimit64 to read limits.
        _Condition(302, 2, _Test.NULL),
    )


def build_filter(pid: int) -> bytes:
    """Build the filter of the process ``pid``, as the kernel takes it: 8 bytes per instruction."""
    program = [
        _instruction(_LOAD, _OFFSET_ARCHITECTURE),
        _instruction(_EQUAL, _AUDIT_ARCH_X86_64, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _OFFSET_NUMBER),
        # The same calls by other numbers.
        _instruction(_AT_LEAST, _X32_BIT, 0, 1),
        _instruction(_RETURN, _error(errno.ENOSYS)),
    ]
    for number in sorted(_ALLOWED.values()):
        program += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _ALLOW)]
    for condition in _conditions(pid):
        body = list(_body(condition))
        program += [_instruction(_EQUAL, condition.number, 0, len(body)), *body]
    # clone3 hides its flags in memory, where a filter cannot look: libraries go back to clone.
    program += [_instruction(_EQUAL, 435, 0, 1), _instruction(_RETURN, _error(errno.ENOSYS))]
    return b"".join([*program, _instruction(_RETURN, _error(errno.EPERM))])


def _body(condition: _Condition) -> Iterable[bytes]:
    """Yield the instructions that judge an argument; the last one refuses."""
    low = _OFFSET_ARGUMENTS + 8 * condition.argument
    yield _instruction(_LOAD, low)
    match condition.test:
        case _Test.ONE_OF:
            for value in condition.values:
                yield _instruction(_EQUAL, value, 0, 1)
                yield _instruction(_RETURN, _ALLOW)
        case _Test.HAS:
            yield _instruction(_ANY_BIT, condition.values[0], 0, 1)
            yield _instruction(_RETURN, _ALLOW)
        case _Test.LACKS:
            yield _instruction(_ANY_BIT, condition.values[0], 1, 0)
            yield _instruction(_RETURN, _ALLOW)
        case _Test.NULL:
            yield _instruction(_EQUAL, 0, 0, 3)
            yield _instruction(_LOAD, low + 4)
            yield _instruction(_EQUAL, 0, 0, 1)
            yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_RETURN, _error(errno.EPERM))


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
