"""The process from which programs are forked: warm, inside the sandbox's walls, and told nothing but limits.

    runner ── control socket ──> zygote ── fork ──> program
      └──────────── channel of one program ───────────┘

For each program the runner sends its limits and one end of a channel. The zygote passes the channel on, watches the
program, ends it at its limits, and answers how its process ended. It never holds a program's text, so that no later
program finds it in memory. Started as ``python -m evalrun_runner.execution.zygote CONTROL WALLS FOLDER``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import NoReturn

from evalrun_runner.execution import kernel, landlock, namespaces, program
from evalrun_runner.execution.verdicts import Limits, ProgramEnd
from evalrun_runner.execution.walls import Walls

WARM = (
    *("abc", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections", "copy", "csv", "ctypes"),
    *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "html", "inspect"),
    *("itertools", "json", "math", "numbers", "operator", "pprint", "queue", "random", "re", "shutil", "statistics"),
    *("string", "struct", "subprocess", "tempfile", "textwrap", "threading", "time", "traceback", "typing"),
    *("unicodedata", "unittest", "uuid", "numpy"),
)
"""Modules that programs import and need not load again."""
LOOK_SECONDS = 0.02
"""Time between two looks at a program."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """How a program's process ended."""

    stopped: ProgramEnd | None
    """Limit at which the zygote ended it."""
    status: int
    """As ``wait`` reports it."""
    seconds: float


def main(control: socket.socket, walls: Walls, folder: str) -> None:
    """Set up the walls, say so, and run programs until the control socket closes."""
    _be_first_to_die()
    try:
        _warm_up()
        if walls is Walls.NAMESPACES:
            namespaces.enter_namespaces()
            _become_first_process(control)
            namespaces.enter_root()
        elif (version := kernel.landlock_version()) < landlock.LEAST_VERSION:
            raise OSError(f"Landlock {landlock.LEAST_VERSION} is needed (Linux 6.2), there is {version or 'none'}")
    except Exception as error:  # noqa: BLE001  whatever it is, the runner says it by name
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return
    control.send(json.dumps({"landlock": kernel.landlock_version()}).encode())
    gc.collect()
    gc.freeze()
    with contextlib.suppress(ConnectionError):
        while _serve_one(control, walls, folder):
            pass


def _be_first_to_die() -> None:
    """Where memory runs out, the kernel is to end a sandbox, never the engine beside it."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _warm_up() -> None:
    for name in WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _become_first_process(control: socket.socket) -> None:
    """Go on in a child, which is the first process of the new tree: when it ends, all others do."""
    child = os.fork()
    if child == 0:
        return
    control.close()
    _, status = os.waitpid(child, 0)
    os._exit(0 if status == 0 else 1)


def _serve_one(control: socket.socket, walls: Walls, folder: str) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
    if not message:
        return False
    (channel,) = descriptors
    limits = Limits(**json.loads(message))
    work = None if walls is Walls.NAMESPACES else tempfile.mkdtemp(prefix="evalrun-program-", dir=folder)
    pid = os.fork()
    if pid == 0:
        program.run_program(channel, work, limits)
    os.close(channel)
    try:
        seen = _watch(pid, control, work, limits)
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    answer = {"stopped": seen.stopped and seen.stopped.value, "status": seen.status, "seconds": seen.seconds}
    control.send(json.dumps(answer).encode())
    return True


def _watch(pid: int, control: socket.socket, work: str | None, limits: Limits) -> _Seen:
    """Wait for a program's end, and end it at its limits, or with the runner."""
    start = time.monotonic()
    stopped: ProgramEnd | None = None
    handle = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(control, select.POLLHUP)
        while not (events := poller.poll(LOOK_SECONDS * 1000)):
            if (stopped := _exceeded(pid, start, work, limits)) is not None:
                break
        if stopped is not None or any(descriptor != handle for descriptor, _ in events):
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(handle)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        stopped = ProgramEnd.TIMED_OUT
    return _Seen(stopped, status, time.monotonic() - start)


def _exceeded(pid: int, start: float, work: str | None, limits: Limits) -> ProgramEnd | None:
    """Return the limit that a program exceeds, if any."""
    if time.monotonic() - start > limits.wall_seconds or _processor_seconds(pid) > limits.seconds:
        return ProgramEnd.TIMED_OUT
    if work is None:
        return None
    # Without namespaces nobody else counts these.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if len(os.listdir(f"/proc/{pid}/task")) > limits.threads:
            return ProgramEnd.PROCESSES
    sizes = [entry.stat(follow_symlinks=False).st_blocks * 512 for entry in os.scandir(work)]
    return ProgramEnd.DISK if len(sizes) > limits.files or sum(sizes) > limits.disk_bytes else None


def _processor_seconds(pid: int) -> float:
    try:
        # The clock of another process's processor time, as clock_getcpuclockid makes its number.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _start() -> NoReturn:
    descriptor, walls, folder = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as control:
        main(control, Walls(walls), folder)
    os._exit(0)


if __name__ == "__main__":
    _start()
