"""Process trees of a pod, including orphans, which are adopted by the pod's first process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.05


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, as the first process of a container always is."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Tree:
    """Process, the session that it leads, and all descendants, including those that outlive the first process."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path, *, alone: bool) -> None:
        """Start the process in a new session.

        Args:
            command: The command line.
            environment: The whole environment.
            output: File for stdout and stderr.
            alone: Whether this process has no children other than this tree. Then every adopted orphan belongs to the
                tree and is reaped here, because nothing else would reap it.
        """
        self._output = output
        self._alone = alone
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
        """Exit code of the first process, None while it runs. Poll it: reading it also reaps ended orphans."""
        if self._alone:
            self._reap()
        return self._process.poll()

    def output(self, lines: int = 12) -> str:
        """Return the last lines of its output."""
        return "\n".join(self._output.read_text(errors="replace").splitlines()[-lines:])

    def end(self, grace: float) -> None:
        """Send SIGTERM to the first process, SIGKILL to all survivors after ``grace`` seconds, and wait for the end."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        while left := members(self._process.pid, os.getpid() if self._alone else None):
            end_all(left)
            time.sleep(POLL_SECONDS)
        if self._alone:
            self._reap()

    def _reap(self) -> None:
        while (ended := _ended_child()) is not None:
            if ended == self._process.pid:
                self._process.poll()
            else:
                os.waitpid(ended, os.WNOHANG)


def members(session: int | None, parent: int | None = None) -> list[int]:
    """Return the living processes of a session, the children of ``parent``, and all descendants, without zombies."""
    parents: dict[int, list[int]] = {}
    generation = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := _parent_and_session(int(entry.name))) is not None:
            parents.setdefault(found[0], []).append(int(entry.name))
            if found[1] == session or found[0] == parent:
                generation.append(int(entry.name))
    all_of_them: dict[int, None] = {}
    while generation:
        all_of_them.update(dict.fromkeys(generation))
        generation = [child for pid in generation for child in parents.get(pid, []) if child not in all_of_them]
    return list(all_of_them)


def _parent_and_session(pid: int) -> tuple[int, int] | None:
    try:
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return None  # the process has just ended
    return None if state == "Z" else (int(parent), int(session))


def end_all(pids: Iterable[int]) -> None:
    """Send SIGKILL to processes, of which some may have ended already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _ended_child() -> int | None:
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid
