"""Run one program in its own process: confine it, execute it as lm-eval's ``code_eval`` does, report the end.

This is the child of ``zygote``. It holds nothing but the program: the runner's memory is in another process tree.
The report begins with a number that only this process was given, and is written after the program's last line: what a
program prints, and how it exits, passes for no report. A program that is written against this very module could still
find the number, as tests that run beside the program can never be hidden from it; ``code_eval`` has no such number.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import resource
import signal
import sys
import types
from contextlib import redirect_stderr, redirect_stdout
from typing import NoReturn

from evalrun_runner.execution import kernel, landlock, namespaces
from evalrun_runner.execution.seccomp import build_filter
from evalrun_runner.execution.surroundings import DEVICES, WORK, readable_paths
from evalrun_runner.execution.verdicts import MOST_DETAIL, Limits, ProgramEnd

CONFINED = b"1"
"""First byte on the channel: the process is confined. Anything else is the reason why it is not."""
NONCE_BYTES = 32
"""Length of the number that begins the report, in hexadecimal digits."""
_CHANNEL = 3
"""Descriptor of the channel to the runner: the program comes in, the report goes out."""
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_REFUSED = {errno.EPERM, errno.EACCES, errno.EROFS}
_GONE_FROM_OS = (
    *("kill", "system", "putenv", "remove", "removedirs", "rmdir", "fchdir", "setuid", "fork", "forkpty", "killpg"),
    *("rename", "renames", "truncate", "replace", "unlink", "fchmod", "fchown", "chmod", "chown", "chroot", "lchflags"),
    *("lchmod", "lchown", "getcwd", "chdir"),
)
"""Functions that ``code_eval`` sets to None before it executes a program."""


class _WriteOnly(io.StringIO):
    """Standard streams of a program, as ``code_eval`` has them."""

    def read(self, *_: object) -> NoReturn:
        raise OSError

    readline = readlines = read

    def readable(self) -> bool:
        return False


def run_program(channel: int, work: str | None, limits: Limits) -> NoReturn:
    """Confine this process, run the program that the channel brings, report, and end.

    Args:
        channel: Descriptor of the channel.
        work: Folder to work in; None where the sandbox has a root of its own.
        limits: What the program may use.
    """
    # The program may replace functions of modules: what comes after it is taken from them before.
    write, end = os.write, os._exit
    try:
        _confine(channel, work, limits)
    except BaseException as error:  # noqa: BLE001  a program that cannot be confined must not run
        write(channel, f"{type(error).__name__}: {error}".encode()[:MOST_DETAIL])
        end(1)
    # The runner sends no program before it has read this.
    write(_CHANNEL, CONFINED)
    received = _receive()
    nonce, text = received[:NONCE_BYTES], received[NONCE_BYTES:].decode("utf-8", "surrogatepass")
    del received
    _guard()
    _forget_ourselves()
    cause, detail = _executed(text)
    write(_CHANNEL, nonce + cause + b" " + detail)
    end(0)


def _confine(channel: int, work: str | None, limits: Limits) -> None:
    """Give up everything but the channel, step by step: each step may need what a later one takes away."""
    kernel.set_death_signal(signal.SIGKILL)
    os.dup2(channel, _CHANNEL)
    empty = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1):
        os.dup2(empty, stream)
    os.closerange(_CHANNEL + 1, 1 << 16)
    if work is None:
        mapped = os.getuid() == 0
        owner = namespaces.PROGRAM_ID if mapped else os.getuid()
        namespaces.mount_work(limits.disk_bytes, limits.files, owner)
        # Counted within the namespace, since Linux 5.14.
        resource.setrlimit(resource.RLIMIT_NPROC, (limits.threads, limits.threads))
        if mapped:
            os.setgroups([])
            os.setresgid(owner, owner, owner)
            os.setresuid(owner, owner, owner)
    os.chdir(work or WORK)
    os.environ.update({"HOME": work or WORK, "TMPDIR": work or WORK})
    seconds = int(limits.seconds) + 2
    for what, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (most, most))
    kernel.drop_privileges()
    readable = dict.fromkeys(readable_paths(), landlock.READ)
    landlock.restrict({**readable, **dict.fromkeys(DEVICES, landlock.DEVICE), work or WORK: landlock.WORK})
    kernel.set_filter(build_filter(os.getpid()))
    os.dup2(1, 2)


def _receive() -> bytes:
    received = bytearray()
    while some := os.read(_CHANNEL, 1 << 16):
        received += some
    return bytes(received)


def _executed(text: str) -> tuple[bytes, bytes]:
    """Execute a program as ``code_eval`` does, and return how it ended, and its words on it."""
    passed, words_of, cause_of = ProgramEnd.PASSED.value.encode(), _words, _cause
    stream = _WriteOnly()
    stdin, sys.stdin = sys.stdin, stream
    try:
        with redirect_stdout(stream), redirect_stderr(stream):
            exec(text, {})  # noqa: S102  what the sandbox is for
    except BaseException as error:  # noqa: BLE001  programs raise anything, SystemExit too
        return cause_of(error).value.encode(), words_of(error)
    finally:
        sys.stdin = stdin
    return passed, b""


def _forget_ourselves() -> None:
    """Take this package out of what programs can import: they find what lm-eval's find."""
    random.seed(0)
    for name in [name for name in sys.modules if name.partition(".")[0] == "evalrun_runner"]:
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")


def _guard() -> None:
    """Take away what ``code_eval`` takes away, so that programs raise the same errors here."""
    import shutil
    import subprocess

    builtins.exit = builtins.quit = None  # type: ignore[assignment]  # as code_eval does it
    builtins.__dict__["help"] = None
    for name in _GONE_FROM_OS:
        setattr(os, name, None)
    for name in ("rmtree", "move", "chown"):
        setattr(shutil, name, None)
    subprocess.Popen = None  # type: ignore[assignment,misc]  # as code_eval does it
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None  # type: ignore[assignment]  # as code_eval does it


def _cause(error: BaseException) -> ProgramEnd:
    if isinstance(error, MemoryError):
        return ProgramEnd.MEMORY
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return ProgramEnd.DISK
        if error.errno in _REFUSED:
            return ProgramEnd.FORBIDDEN
        if error.errno == errno.ENOMEM:
            return ProgramEnd.MEMORY
    return ProgramEnd.RAISED


def _words(error: BaseException) -> bytes:
    kind = type(error).__name__
    try:
        words = f"{kind}: {error}"
    except BaseException:  # noqa: BLE001  a program's exception may raise when it is written
        words = str(kind)
    return words[:MOST_DETAIL].encode("ascii", "backslashreplace")
