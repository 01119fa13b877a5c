"""A pod's processes: one that we start, what it starts in turn, and orphans, which come to the pod's first process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.05


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, as the first process of a container is anyway."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Tree:
    """A process with all its descendants; those that outlive it count as long as we are their ancestor."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        """Start it, in a session of its own, its words going to a file."""
        self._output = output
        with output.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603  (the command is ours)
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """The first process's, None while it runs."""
        return self._process.poll()

    def said(self, lines: int = 12) -> str:
        """The last lines of its words."""
        return "\n".join(self._output.read_text(errors="replace").splitlines()[-lines:])

    def end(self, grace: float) -> None:
        """SIGTERM to the first process, ``grace`` seconds, then SIGKILL to every descendant of ours; returns after."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        while left := descendants(os.getpid()):
            for pid in left:
                _kill(pid)
            self.reap()
            time.sleep(POLL_SECONDS)
        self.reap()

    def reap(self) -> None:
        """Bury all children of ours that have ended: to be called now and then, as nobody else does it for orphans."""
        while (ended := _ended_child()) is not None:
            if ended == self._process.pid:
                self._process.poll()
            else:
                os.waitpid(ended, os.WNOHANG)


def descendants(ancestor: int) -> list[int]:
    """Living processes below a process, zombies not counted; the nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (parent := _parent(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, generation = list[int](), [ancestor]
    while generation:
        generation = [child for process in generation for child in children.get(process, [])]
        found += generation
    return found


def _parent(pid: int) -> int | None:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None  # it has just ended
    return None if state == "Z" else int(parent)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended by itself


def _ended_child() -> int | None:
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid
